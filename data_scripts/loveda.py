#!/usr/bin/env python
"""Prepare LoveDA: city and country around three Chinese cities, 0.3 m, 1024 x 1024, 6 categories.

A training set for the paper's Figure 3. THE CHOICE IS OURS: Figure 3 trains on other data sets than LandDiscover50K,
and our copy of the paper does not show which.

As published (https://zenodo.org/records/5706578; addresses, MD5, layout and codes as in torchgeo's reader of the set,
https://github.com/microsoft/torchgeo/blob/main/torchgeo/datasets/loveda.py; 2522 and 1669 pairs as counted in
https://github.com/dataset-ninja/remote-sensing-land-cover-dataset): {Train,Val}/{Urban,Rural}/images_png/N.png and
masks_png/N.png; 0 = no data, 1 = background, 2 to 7 the categories. Colours: https://github.com/Junjue-Wang/LoveDA.
Background is ignored here, as LandDiscover50K does with its own. LandDiscover50K was built from these images too, so
a model trained on it has seen them.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Archive, Layout, Recipe, Sample

HOME = "https://zenodo.org/records/5706578/files/"
RECIPE = Recipe(
    name="LoveDA",
    licence="CC-BY-NC-SA-4.0, academic use only",
    citation="Wang et al., LoveDA, NeurIPS Datasets and Benchmarks 2021, arXiv:2110.08733",
    categories=(
        ("building", "#ff0000", "house, roof"),
        ("road", "#ffff00", "street"),
        ("water", "#0000ff", "lake, river"),
        ("barren", "#9f81b7", "barren land, bare soil"),
        ("forest", "#00ff00", "trees, woodland"),
        ("agriculture", "#ffc380", "cropland, farmland"),
    ),
    layouts=(
        Layout(
            "published",
            r"(Train|Val)/(Urban|Rural)/images_png/(\d+)\.png",
            r"(Train|Val)/(Urban|Rural)/masks_png/(\d+)\.png",
            codes=tuple(range(2, 8)),
            follows="https://github.com/torchgeo/torchgeo, torchgeo/datasets/loveda.py",
            ignored=(0, 1),
            splits={"train": ("^Train", 2522), "val": ("^Val", 1669)},
            archives={
                "train": (Archive("Train.zip", HOME + "Train.zip?download=1", "de2b196043ed9b4af1690b3f9a7d558f"),),
                "val": (Archive("Val.zip", HOME + "Val.zip?download=1", "84cae2577468ff0b5386758bb386d31d"),),
            },
            sample=Sample(
                tuple(
                    (f"{s}.zip/{s}/{a}/images_png/{n}.png", f"{s}.zip/{s}/{a}/masks_png/{n}.png")
                    for s, a, n in (
                        ("Train", "Rural", 0),
                        ("Train", "Urban", 1366),
                        ("Val", "Rural", 2522),
                        ("Val", "Urban", 3514),
                    )
                )
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

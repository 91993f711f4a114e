#!/usr/bin/env python
"""Prepare LandDiscover50K: the training set of the paper, 51,846 images, 40 names of which "background" is ignored.

As published (https://huggingface.co/datasets/Stev929/LandDiscover50K, linked from https://github.com/yecy749/GSNet;
Ye et al., AAAI 2025, arXiv:2412.19492): TR_Image/NAME.png and GT_ID/NAME.png, the mask holds the place in the list of
40, 0 = background = ignored (gs_net/data/datasets of that repository). The archive comes in parts: LD50KSplit.z01
and so on, and LD50KSplit.zip. Any program that reads split zip files may put them together: `7z x LD50KSplit.zip`
unpacks them, then give the folder with --source; `zip -s 0 LD50KSplit.zip --out joined.zip` joins them, then give the
file with --archive. No colours are published; those here are this project's.

It was built from OpenEarthMap, LoveDA, DeepGlobe and SAMRS (README of GSNet), so a model trained on it has seen their
images.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample
from rs_zeroseg.data.show import colours_for
from rs_zeroseg.data.vocab import LANDDISCOVER50K

OTHER = {
    "bare land": "bare soil, bare ground",
    "grass": "lawn, grassland",
    "pavement": "paved surface, developed space",
    "road": "street, highway",
    "tree": "trees",
    "water": "lake, river, open water",
    "agriculture land": "cropland, farmland",
    "buildings": "building, house, roof",
    "forest land": "forest, woodland",
    "barren land": "desert, sand",
    "urban land": "urban area, town",
    "plane": "airplane, aircraft",
    "ship": "boat, vessel",
    "soccer-ball-field": "football field",
    "ground-track-field": "running track",
    "harbor": "port",
    "swimming-pool": "pool",
    "large-vehicle": "truck, bus",
    "small-vehicle": "car",
    "expresswalltoll station": "expressway toll station, toll gate",
}
NAMES = LANDDISCOVER50K[1:]
RECIPE = Recipe(
    name="LandDiscover50K",
    licence="not stated; its sources have their own",
    citation="Ye, Zhuge, Zhang, AAAI 2025, arXiv:2412.19492",
    categories=tuple(
        (name, colour, OTHER.get(name, name.replace("-", " ") if "-" in name else ""))
        for name, colour in zip(NAMES, colours_for(NAMES))
    ),
    layouts=(
        Layout(
            "gsnet",
            r"TR_Image/([^/]+)\.png",
            r"GT_ID/([^/]+)\.png",
            codes=tuple(range(1, 40)),
            follows="https://github.com/yecy749/GSNet, gs_net/data/datasets and README.md",
            ignored=(0,),
            splits={"train": ("", 51846)},
            by_hand="all parts of LD50KSplit.zip from https://huggingface.co/datasets/Stev929/LandDiscover50K, "
            "joined or unpacked by any program that reads split zip files, as '7z x LD50KSplit.zip'",
            sample=Sample(
                tuple(
                    (f"LandDiscover50K/TR_Image/{name}.png", f"LandDiscover50K/GT_ID/{name}.png")
                    for name in ("aachen_1", "P0000__1024__0___0", "00001")
                )
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

#!/usr/bin/env python
"""Prepare OpenEarthMap (without xBD): land cover of 44 countries, 0.25-0.5 m, 8 categories.

A training set for the paper's Figure 3. THE CHOICE IS OURS: Figure 3 trains on other data sets than LandDiscover50K,
and our copy of the paper does not show which.

As published (https://zenodo.org/records/7223446, one archive of 9.1 GB with its MD5;
https://github.com/bao18/open_earth_map): OpenEarthMap/OpenEarthMap_wo_xBD/REGION/{images,labels}/REGION_N.tif, three
bands of bytes and masks of 0 to 8, 0 = unknown = ignored; train.txt, val.txt and test.txt list the names. The images
of some regions belong to xBD and are not in the archive: their labels are left alone, and counted: the lists name
3000 and 500, of which others counted 2303 and 384 with an image. The labels of the test part are not published. Names
of the categories: https://open-earth-map.org/overview.html. LandDiscover50K was built from these images too, so a
model trained on it has seen them.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Archive, Layout, Recipe, Sample

TOP = "OpenEarthMap.zip/OpenEarthMap/OpenEarthMap_wo_xBD/"
ZIP = (
    Archive(
        "OpenEarthMap.zip",
        "https://zenodo.org/records/7223446/files/OpenEarthMap.zip?download=1",
        "64155d1dc9d3b68536063f79878e1a67",
    ),
)
RECIPE = Recipe(
    name="OpenEarthMap",
    licence="per region, else CC-BY-NC-SA-4.0",
    citation="Xia et al., OpenEarthMap, WACV 2023, arXiv:2210.10732",
    categories=(
        ("bareland", "#800000", "bare land, bare soil"),
        ("rangeland", "#00ff24", "grass, grassland"),
        ("developed space", "#949494", "pavement, paved surface"),
        ("road", "#ffffff", "street"),
        ("tree", "#226126", "trees, forest"),
        ("water", "#0045ff", "lake, river"),
        ("agriculture land", "#4bb549", "cropland, farmland"),
        ("building", "#de1f07", "house, roof"),
    ),
    layouts=(
        Layout(
            "published",
            r"images/([\w-]+_\d+)\.tif",
            r"labels/([\w-]+_\d+)\.tif",
            codes=tuple(range(1, 9)),
            follows="https://github.com/bao18/open_earth_map",
            ignored=(0,),
            splits={"train": ("/train.txt", None), "val": ("/val.txt", None)},
            archives={"train": ZIP, "val": ZIP},
            sample=Sample(
                tuple(
                    (f"{TOP}{r}/images/{r}_{n}.tif", f"{TOP}{r}/labels/{r}_{n}.tif")
                    for r, n in (("aachen", 1), ("rio", 12), ("aachen", 4))
                ),
                alone=(TOP + "mexico-city/labels/mexico-city_3.tif", TOP + "aachen/images/aachen_9.tif"),
                texts={
                    TOP + "train.txt": "aachen_1.tif\nrio_12.tif\nmexico-city_3.tif\n",
                    TOP + "val.txt": "aachen_4.tif\n",
                    TOP + "test.txt": "aachen_9.tif\n",
                },
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

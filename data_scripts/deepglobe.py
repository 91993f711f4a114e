#!/usr/bin/env python
"""Prepare DeepGlobe Land Cover: satellite images of 2448 x 2448 at 0.5 m, 6 categories.

A training set for the paper's Figure 3. THE CHOICE IS OURS: Figure 3 trains on other data sets than LandDiscover50K,
and our copy of the paper does not show which.

As published (https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset, free account; the
challenge is at https://competitions.codalab.org/competitions/18468): train/ID_sat.jpg and train/ID_mask.png; only the
803 images of train have masks. The masks hold colours (as in
https://github.com/microsoft/torchgeo/blob/main/torchgeo/datasets/deepglobelandcover.py) that are not pure: the
publisher asks to cut them at 128. Black = unknown = ignored. The JPEG images are copied whole, not compressed again.

Also understood: the layout of torchgeo's reader of the set (torchgeo/datasets/deepglobelandcover.py), which has
another split of the same 803 pairs, made by others: data/training_data/{images,masks} and data/test_data/{images,masks}
(https://www.kaggle.com/datasets/geoap96/deepglobe2018-landcover-segmentation-traindataset). How many are in each part
is not written there.

LandDiscover50K was built from these images too, so a model trained on it has seen them.
"""
import sys

import numpy as np

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample


def pure(colours):
    return np.where(colours >= 128, 255, 0).astype(np.uint8)


COLOURS = ("#00FFFF", "#FFFF00", "#FF00FF", "#00FF00", "#0000FF", "#FFFFFF")
RECIPE = Recipe(
    name="DeepGlobe",
    licence="DeepGlobe challenge terms (DigitalGlobe imagery)",
    citation="Demir et al., DeepGlobe 2018, CVPR Workshops, arXiv:1805.06561",
    categories=(
        ("urban land", "#00ffff", "urban area, town"),
        ("agriculture land", "#ffff00", "cropland, farmland"),
        ("rangeland", "#ff00ff", "grass, grassland"),
        ("forest land", "#00ff00", "forest, trees"),
        ("water", "#0000ff", "lake, river"),
        ("barren land", "#ffffff", "bare land, desert"),
    ),
    layouts=(
        Layout(
            "published",
            r"train/(\d+)_sat\.jpg",
            r"train/(\d+)_mask\.png",
            codes=COLOURS,
            follows="https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset",
            ignored=("#000000",),
            clean=pure,
            splits={"train": ("", 803)},
            by_hand="archive.zip from https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset",
            sample=Sample(
                (
                    ("archive.zip/train/119_sat.jpg", "archive.zip/train/119_mask.png"),
                    ("archive.zip/train/855_sat.jpg", "archive.zip/train/855_mask.png"),
                ),
                alone=("archive.zip/valid/5041_sat.jpg", "archive.zip/test/3131_sat.jpg"),
                noise=60,
            ),
        ),
        Layout(
            "torchgeo",
            r"(training|test)_data/images/(\d+)_sat\.jpg",
            r"(training|test)_data/masks/(\d+)_mask\.png",
            codes=COLOURS,
            follows="https://github.com/torchgeo/torchgeo, torchgeo/datasets/deepglobelandcover.py",
            ignored=("#000000",),
            clean=pure,
            splits={"train": ("^training_", None), "test": ("^test_", None)},
            by_hand="data.zip from https://www.kaggle.com/datasets/geoap96/deepglobe2018-landcover-segmentation-traindataset",
            sample=Sample(
                tuple(
                    (f"data.zip/data/{s}_data/images/{n}_sat.jpg", f"data.zip/data/{s}_data/masks/{n}_mask.png")
                    for s, n in (("training", 119), ("training", 855), ("test", 2334))
                ),
                noise=60,
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

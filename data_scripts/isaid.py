#!/usr/bin/env python
"""Prepare iSAID: 15 kinds of objects in the aerial images of DOTA-v1.0, of 800 to 13,000 pixels.

A training set for the paper's Figure 3. THE CHOICE IS OURS: Figure 3 trains on other data sets than LandDiscover50K,
and our copy of the paper does not show which.

As published: masks from https://captain-whu.github.io/iSAID/dataset.html (Semantic_masks/images.zip), images from
https://captain-whu.github.io/DOTA/dataset.html (part1.zip and so on), the same for train and val (addresses and
archives as in https://github.com/open-mmlab/mmsegmentation, docs/en/user_guides/2_dataset_prepare.md; 1411 and 458
pairs as counted in https://github.com/dataset-ninja/isaid; licence as on
https://huggingface.co/datasets/torchgeo/dota). An image is P0003.png, its mask P0003_instance_color_RGB.png; both
parts are numbered in one row, so give the archives of one part at a time: what you give is what you get, and --split
names it (or put them into data/isaid/archives/train and .../val).

Also understood: the folders that the authors' programs expect (https://github.com/CAPTAIN-WHU/iSAID_Devkit, README.md):
{train,val}/images/P0003.png with P0003_instance_color_RGB.png beside it. There --split takes only its own folder. That
program (preprocess/split.py) passes over P1527 and P1530 without saying why, and so do we, with its name as the reason.

Colours: https://mmsegmentation.readthedocs.io
(mmseg/datasets/isaid.py), black = no object = ignored, as the "background" of LandDiscover50K. Some images have one
band only; it is written thrice. Cut into tiles. LandDiscover50K holds SAMRS, made from DOTA-v2.0, so a model trained
on it has seen most of these images.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample

CATEGORIES = (
    ("ship", "#00003f", "boat, vessel"),
    ("storage tank", "#003f3f", "oil tank"),
    ("baseball diamond", "#003f00", "baseball field"),
    ("tennis court", "#003f7f", ""),
    ("basketball court", "#003fbf", ""),
    ("ground track field", "#003fff", "running track"),
    ("bridge", "#007f3f", ""),
    ("large vehicle", "#007f7f", "truck, bus"),
    ("small vehicle", "#00007f", "car"),
    ("helicopter", "#0000bf", ""),
    ("swimming pool", "#0000ff", "pool"),
    ("roundabout", "#00bf7f", ""),
    ("soccer ball field", "#007fbf", "football field"),
    ("plane", "#007fff", "airplane, aircraft"),
    ("harbor", "#00649b", "port"),
)
CODES = tuple(colour.upper() for _, colour, _ in CATEGORIES)
DEVKIT = {r"P(1527|1530)$": "passed over by the iSAID devkit (preprocess/split.py)"}
RECIPE = Recipe(
    name="iSAID",
    licence="academic use only (DOTA, iSAID)",
    citation="Waqas Zamir et al., iSAID, CVPR Workshops 2019, arXiv:1905.12886",
    categories=CATEGORIES,
    tile_px=1024,
    layouts=(
        Layout(
            "published",
            r"(?<!train/)(?<!val/)images/(P\d+)\.png",
            r"(?<!train/)(?<!val/)images/(P\d+)_instance_color_RGB\.png",
            codes=CODES,
            follows="https://github.com/open-mmlab/mmsegmentation, docs/en/user_guides/2_dataset_prepare.md",
            skip=DEVKIT,
            ignored=("#000000",),
            splits={"train": ("", 1411), "val": ("", 458)},
            by_hand="Semantic_masks/images.zip from https://captain-whu.github.io/iSAID/dataset.html "
            "and part1.zip, part2.zip ... from https://captain-whu.github.io/DOTA/dataset.html",
            sample=Sample(
                (
                    ("part1.zip/images/P0000.png", "images.zip/images/P0000_instance_color_RGB.png"),
                    ("part2.zip/images/P1397.png", "images.zip/images/P1397_instance_color_RGB.png"),
                ),
                size=(60, 1030),
            ),
        ),
        Layout(
            "devkit",
            r"(train|val)/images/(P\d+)\.png",
            r"(train|val)/images/(P\d+)_instance_color_RGB\.png",
            codes=CODES,
            follows="https://github.com/CAPTAIN-WHU/iSAID_Devkit, README.md and preprocess/split.py",
            ignored=("#000000",),
            skip=DEVKIT,
            splits={"train": ("^train_", 1411), "val": ("^val_", 458)},
            by_hand="the same, put into train/images and val/images as in https://github.com/CAPTAIN-WHU/iSAID_Devkit",
            sample=Sample(
                tuple(
                    (f"iSAID/{s}/images/{n}.png", f"iSAID/{s}/images/{n}_instance_color_RGB.png")
                    for s, n in (("train", "P0002"), ("train", "P0010"), ("train", "P1527"), ("val", "P0003"))
                ),
                alone=("iSAID/test/images/P0006.png",),
                size=(60, 1030),
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

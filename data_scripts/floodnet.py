#!/usr/bin/env python
"""Prepare FloodNet (Supervised v1.0): drone images after Hurricane Harvey, 4000 x 3000, 10 names.

BinaLab, CDLA-permissive 1.0.

As published (https://github.com/BinaLab/FloodNet-Supervised_v1.0; its README links to Dropbox now, the Google Drive
folders of earlier days are commented out there):
FloodNet-Supervised_v1.0/{train,val,test}/{train,val,test}-org-img/NNNN.jpg and ...-label-img/NNNN_lab.png, masks of 0
to 9; 1445, 450 and 448 pairs. As in the code of the other methods (https://github.com/yecy749/GSNet) the evaluated
part is val and test together, and "Background" (0) is prompted but its pixels are ignored. Colours: the ColorMasks of
the same release.

Also understood: FloodNet/val+test/{img,lbl}, as GSNet's authors prepared it for Table 1
(https://huggingface.co/datasets/Stev929/OVRSISS_test). The JPEG images are copied whole: cutting them would compress
them again, and both training and evaluation read any size.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

CODES = (None, *range(1, 10))  # Background: prompted, never a pixel
RECIPE = Recipe(
    name="FloodNet",
    licence="CDLA-permissive-1.0",
    citation="Rahnemoonfar et al., FloodNet, IEEE Access 9, 2021, arXiv:2012.02951",
    novel=DATASETS["FloodNet"].novel,
    categories=(
        ("Background", "#000000", ""),
        ("building-flooded", "#ff0000", "flooded building"),
        ("building-non-flooded", "#b47878", "building, house"),
        ("road-flooded", "#a09614", "flooded road"),
        ("road-non-flooded", "#8c8c8c", "road, street"),
        ("water", "#3de6fa", "lake, river"),
        ("tree", "#0052ff", "trees"),
        ("vehicle", "#ff00f5", "car"),
        ("pool", "#ffeb00", "swimming pool"),
        ("grass", "#04fa07", "lawn"),
    ),
    layouts=(
        Layout(
            "published",
            r"(train|val|test)-org-img/(\d+)\.jpg",
            r"(train|val|test)-label-img/(\d+)_lab\.png",
            CODES,
            follows="https://github.com/BinaLab/FloodNet-Supervised_v1.0, README.md",
            ignored=(0,),
            splits={
                "val+test": ("^(val|test)_", 898),
                "train": ("^train_", 1445),
                "val": ("^val_", 450),
                "test": ("^test_", 448),
            },
            by_hand="FloodNet-Supervised_v1.0 from the Dropbox link on https://github.com/BinaLab/FloodNet-Supervised_v1.0",
            sample=Sample(
                tuple(
                    (
                        f"FloodNet.zip/FloodNet-Supervised_v1.0/{s}/{s}-org-img/{n}.jpg",
                        f"FloodNet.zip/FloodNet-Supervised_v1.0/{s}/{s}-label-img/{n}_lab.png",
                    )
                    for s, n in (("val", "6300"), ("test", "7301"), ("train", "6279"))
                )
            ),
        ),
        Layout(
            "gsnet",
            r"val\+test/img/([^/]+)\.jpg",
            r"val\+test/lbl/([^/]+?)(?:_lab)?\.png",
            CODES,
            follows="https://github.com/yecy749/GSNet, README.md",
            ignored=(0,),
            splits={"val+test": ("", 898)},
            by_hand="FloodNet from https://huggingface.co/datasets/Stev929/OVRSISS_test",
            sample=Sample((("FloodNet/val+test/img/6300.jpg", "FloodNet/val+test/lbl/6300.png"),)),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

#!/usr/bin/env python
"""Prepare ISPRS Potsdam: 38 aerial images of 6000 x 6000 at 5 cm, 5 categories; clutter is ignored.

As published (https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx, given on request):
2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip, GeoTIFFs of bytes; the masks hold colours (as in torchgeo's reader of
the set, https://github.com/microsoft/torchgeo/blob/main/torchgeo/datasets/potsdam.py) and black along the boundaries,
which is ignored. 24 images are the published training part and 14 the published test part, called val by everyone
since (same source, and https://mmsegmentation.readthedocs.io, "Prepare datasets"). One published label file is known
to hold #FCFF00, no listed colour: ignored. Images are cut into 144 tiles of 500 x 500; MMSegmentation's 144 of 512
overlap a little at the right and lower edge.

Also understood: PotsdamSplit/{img_dir,ann_dir}/val with masks of 0 to 5 (5 = clutter), as GSNet's authors prepared it
for Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked from https://github.com/yecy749/GSNet).
"""
import sys

from rs_zeroseg.data.prepare import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

VAL = r"^(2_13|2_14|3_13|3_14|4_13|4_14|4_15|5_13|5_14|5_15|6_13|6_14|6_15|7_13)$"
RECIPE = Recipe(
    name="Potsdam",
    licence="ISPRS benchmark terms, on request",
    citation="ISPRS 2D semantic labeling, Potsdam; Rottensteiner et al., ISPRS Annals I-3, 2012",
    novel=DATASETS["Potsdam"].novel,
    tile_px=512,
    categories=(
        ("impervious surface", "#ffffff", "road, pavement, asphalt"),
        ("building", "#0000ff", "house, roof"),
        ("low vegetation", "#00ffff", "grass, lawn"),
        ("tree", "#00ff00", "trees"),
        ("car", "#ffff00", "cars"),
    ),
    layouts=(
        Layout(
            r"top_potsdam_(\d+_\d+)_RGB\.tif$",
            r"top_potsdam_(\d+_\d+)_label_noBoundary\.tif$",
            codes=("#FFFFFF", "#0000FF", "#00FFFF", "#00FF00", "#FFFF00"),
            ignored=("#FF0000", "#000000", "#FCFF00"),
            splits={"val": (VAL, 14), "train": (VAL.replace("^", "^(?!", 1).replace("$", "$)", 1), 24)},
            by_hand="2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip from https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx",
            sample=Sample(
                tuple(
                    (
                        f"2_Ortho_RGB.zip/2_Ortho_RGB/top_potsdam_{n}_RGB.tif",
                        f"5_Labels_all_noBoundary.zip/top_potsdam_{n}_label_noBoundary.tif",
                    )
                    for n in ("2_13", "7_13", "4_12")
                ),
                size=(520, 700),
            ),
        ),
        Layout(
            r"img_dir/val/([^/]+)\.png$",
            r"ann_dir/val/([^/]+)\.png$",
            codes=tuple(range(5)),
            ignored=(5, 255),
            splits={"val": ("", 2016)},
            by_hand="PotsdamSplit from https://huggingface.co/datasets/Stev929/OVRSISS_test",
            sample=Sample(
                (("PotsdamSplit/img_dir/val/2_13_0_0_512_512.png", "PotsdamSplit/ann_dir/val/2_13_0_0_512_512.png"),)
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

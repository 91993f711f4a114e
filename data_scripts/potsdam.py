#!/usr/bin/env python
"""Prepare ISPRS Potsdam: 38 aerial images of 6000 x 6000 at 5 cm, 5 categories; clutter is ignored.

As published (https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx; the
form of earlier days is not needed any more, and the old pages at www2.isprs.org are dead):
2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip, GeoTIFFs of bytes; the masks hold colours (as in torchgeo's reader of
the set, https://github.com/microsoft/torchgeo/blob/main/torchgeo/datasets/potsdam.py) and black along the boundaries,
which is ignored. 24 images are the published training part and 14 the published test part, called val by everyone
since (same source, and https://mmsegmentation.readthedocs.io, "Prepare datasets"). One published label file is known
to hold #FCFF00, no listed colour: ignored. Images are cut into 144 tiles of 500 x 500; MMSegmentation's 144 of 512
overlap a little at the right and lower edge.

Also understood:
* gsnet: PotsdamSplit/{img_dir,ann_dir}/val with masks of 0 to 5 (5 = clutter), as GSNet's authors prepared it for
  Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked from https://github.com/yecy749/GSNet);
* mmsegmentation: the same folders and names, as tools/dataset_converters/potsdam.py of
  https://github.com/open-mmlab/mmsegmentation writes them. Its masks hold 0 = boundary or any other colour, 1 =
  impervious surface, 2 = clutter, 3 = car, 4 = tree, 5 = low vegetation, 6 = building. The two are told apart by the
  codes in the masks. Where these allow both, the script asks for --layout, and never shifts a category;
* torchgeo: 4_Ortho_RGBIR and 5_Labels_all, as torchgeo/datasets/potsdam.py reads them. These labels have no boundary,
  so a score on them is another one.
Clutter is ignored in all of them, as in GSNet, where it is no category.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

VAL = r"^(2_13|2_14|3_13|3_14|4_13|4_14|4_15|5_13|5_14|5_15|6_13|6_14|6_15|7_13)$"
SPLITS = {"val": (VAL, 14), "train": (VAL.replace("^", "^(?!", 1).replace("$", "$)", 1), 24)}
COLOURS = ("#FFFFFF", "#0000FF", "#00FFFF", "#00FF00", "#FFFF00")
IMAGE, MASK = r"img_dir/(train|val)/([^/]+)\.png", r"ann_dir/(train|val)/([^/]+)\.png"
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
            "published",
            r"top_potsdam_(\d+_\d+)_RGB\.tif",
            r"top_potsdam_(\d+_\d+)_label_noBoundary\.tif",
            codes=COLOURS,
            follows="https://github.com/open-mmlab/mmsegmentation, docs/en/user_guides/2_dataset_prepare.md",
            ignored=("#FF0000", "#000000", "#FCFF00"),
            splits=SPLITS,
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
            "gsnet",
            IMAGE,
            MASK,
            codes=tuple(range(5)),
            follows="https://github.com/yecy749/GSNet, gs_net/data/datasets and README.md",
            ignored=(5, 255),
            splits={"val": ("^val_", 2016)},
            by_hand="PotsdamSplit from https://huggingface.co/datasets/Stev929/OVRSISS_test",
            sample=Sample(
                (("PotsdamSplit/img_dir/val/2_13_0_0_512_512.png", "PotsdamSplit/ann_dir/val/2_13_0_0_512_512.png"),),
                size=(90, 99),
            ),
        ),
        Layout(
            "mmsegmentation",
            IMAGE,
            MASK,
            codes=(1, 6, 5, 4, 3),
            follows="https://github.com/open-mmlab/mmsegmentation, tools/dataset_converters/potsdam.py",
            ignored=(0, 2),
            splits={"val": ("^val_", 2016), "train": ("^train_", 3456)},
            sample=Sample(
                tuple(
                    (f"potsdam/img_dir/{s}/{n}_0_0_512_512.png", f"potsdam/ann_dir/{s}/{n}_0_0_512_512.png")
                    for s, n in (("val", "2_13"), ("train", "2_10"))
                ),
                size=(90, 99),
            ),
        ),
        Layout(
            "torchgeo",
            r"top_potsdam_(\d+_\d+)_RGBIR\.tif",
            r"top_potsdam_(\d+_\d+)_label\.tif",
            codes=COLOURS,
            follows="https://github.com/torchgeo/torchgeo, torchgeo/datasets/potsdam.py",
            ignored=("#FF0000", "#FCFF00"),
            splits=SPLITS,
            by_hand="4_Ortho_RGBIR.zip and 5_Labels_all.zip from the same page",
            sample=Sample(
                tuple(
                    (
                        f"4_Ortho_RGBIR.zip/4_Ortho_RGBIR/top_potsdam_{n}_RGBIR.tif",
                        f"5_Labels_all.zip/top_potsdam_{n}_label.tif",
                    )
                    for n in ("2_13", "4_12")
                ),
                size=(520, 700),
                bands=4,
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

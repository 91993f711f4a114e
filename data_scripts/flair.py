#!/usr/bin/env python
"""Prepare the test of FLAIR: aerial images of France, 0.2 m, 512 x 512, 12 categories of land cover.

IGN, Etalab 2.0. There are two releases with different tests, and they are two sets here, with two manifests:

* flair1-test: FLAIR #1, 15,700 pairs in flair_1_aerial_test and flair_1_labels_test;
* flair2-test: FLAIR #2, 16,050 pairs in flair_2_aerial_test and flair_2_labels_test.

As published (https://ignf.github.io/FLAIR/, links and class table on its pages on FLAIR #1 and #2; MD5 of #2 as in
torchgeo's reader of the set, torchgeo/datasets/flair2.py; for #1 none is published): GeoTIFFs of five bands of bytes
(red, green, blue, near infrared, elevation) and masks of 1 to 19. 13 to 19 are rare or undefined and are ignored in the
12-category protocol. 13.5 GB each. The archives of data/flair#1-test and data/flair#2-test at
https://huggingface.co/datasets/IGNF/FLAIR-1-2 hold the same and can be given with --archive. Which of the two a file
belongs to is seen in its path. A folder with both is refused.

* test: the PNGs (0 to 11, 12 = other) that GSNet's authors made, FLAIR/test/{image,mask} or FLAIR_test/{image,mask},
  for the very pixels of Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked from
  https://github.com/yecy749/GSNet). Neither the paper nor GSNet's says whether they come from #1 or from #2, and their
  number is not published: this cannot be verified. Compare the number of pairs.
"""
import sys

from rs_zeroseg.data.command import main
from rs_zeroseg.data.recipes import Archive, Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

HOME = "https://storage.gra.cloud.ovh.net/v1/AUTH_366279ce616242ebb14161b7991a8461/defi-ia/"
# training images have such names, too
NO_TRAIN = r"^(?!.*/(?:flair_aerial_train|flair_labels_train|train-val)/)(?:.*/)?"
IMAGE, MASK = NO_TRAIN + r"IMG_(\d+)\.tif", NO_TRAIN + r"MSK_(\d+)\.tif"
NOTE = (
    "GSNet's FLAIR: whether these are FLAIR #1 (15,700 test patches) or FLAIR #2 (16,050) is not published and cannot "
    "be verified; name it so beside a score"
)
RECIPE = Recipe(
    name="FLAIR",
    licence="etalab-2.0",
    citation="IGN France, FLAIR #1 (arXiv:2211.12979) and #2 (Garioud et al., NeurIPS 2023, arXiv:2310.13336)",
    novel=DATASETS["FLAIR"].novel,
    categories=(
        ("building", "#db0e9a", "house, roof"),
        ("pervious-surface", "#938e7b", "pervious surface, gravel"),
        ("impervious-surface", "#f80c00", "impervious surface, asphalt, pavement"),
        ("bare soil", "#a97101", "soil, bare ground"),
        ("water", "#1553ae", "river, lake"),
        ("coniferous", "#194a26", "coniferous trees, conifers"),
        ("deciduous", "#46e483", "deciduous trees"),
        ("brushwood", "#f3a60d", "shrubs, bushes"),
        ("vineyard", "#660082", "vines"),
        ("herbaceous vegetation", "#55ff00", "grass, meadow"),
        ("agricultural land", "#fff30d", "cropland, crops"),
        ("plowed land", "#e4df7c", "plowed field"),
    ),
    layouts=(
        Layout(
            "gsnet",
            r"(?:FLAIR_)?test/image/([^/]+)\.png",
            r"(?:FLAIR_)?test/mask/([^/]+)\.png",
            codes=tuple(range(12)),
            follows="https://github.com/yecy749/GSNet, gs_net/data/datasets and README.md",
            ignored=(12,),
            splits={"test": ("", None)},
            by_hand="FLAIR from https://huggingface.co/datasets/Stev929/OVRSISS_test (as in Table 1)",
            note=NOTE,
            sample=Sample(
                tuple(
                    (f"FLAIR/test/image/IMG_{n}.png", f"FLAIR/test/mask/IMG_{n}.png") for n in ("061946", "064003")
                )
            ),
        ),
        *(
            Layout(
                f"flair{n}",
                IMAGE,
                MASK,
                codes=tuple(range(1, 13)),
                follows=follows,
                ignored=tuple(range(13, 20)),
                splits={f"flair{n}-test": ("", pairs)},
                sign=rf"(?:^|/)flair[_#]{n}[-_]",
                archives={
                    f"flair{n}-test": tuple(
                        Archive(f"flair_{n}_{kind}_test.zip", f"{HOME}flair_data_{n}/flair_{n}_{kind}_test.zip", md5)
                        for kind, md5 in zip(("aerial", "labels"), md5s)
                    )
                },
                sample=Sample(
                    tuple(
                        (
                            f"flair_{n}_aerial_test.zip/flair_{n}_aerial_test/{d}/img/IMG_{k}.tif",
                            f"flair_{n}_labels_test.zip/flair_{n}_labels_test/{d}/msk/MSK_{k}.tif",
                        )
                        for d, k in places
                    ),
                    bands=5,
                ),
            )
            for n, pairs, md5s, places, follows in (
                (
                    1,
                    15700,
                    (None, None),
                    (("D012_2019/Z10_UU", "062613"), ("D026_2020/Z1_UU", "063002")),
                    "https://ignf.github.io/FLAIR/, the page on FLAIR #1",
                ),
                (
                    2,
                    16050,
                    ("a647e0ba7e5345b28c48d7887ee79888", "394a769ffcb4a783335eecd3f8baef57"),
                    (("D071_2020/Z2_UF", "061946"), ("D084_2021/Z1_NN", "064003")),
                    "https://github.com/torchgeo/torchgeo, torchgeo/datasets/flair2.py",
                ),
            )
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

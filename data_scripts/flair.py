#!/usr/bin/env python
"""Prepare FLAIR #2 (test): aerial images of France, 0.2 m, 512 x 512, 12 categories of land cover.

IGN, Etalab 2.0.

As published (https://ignf.github.io/FLAIR/, links and class table on its page on FLAIR #2; MD5 as in torchgeo's
reader of the set, https://github.com/microsoft/torchgeo/blob/main/torchgeo/datasets/flair2.py): GeoTIFFs of five
bands of bytes (red, green, blue, near infrared, elevation) and masks of 1 to 19. 13 to 19 are rare or undefined and
are ignored in the 12-category protocol. 13.5 GB. The ten archives of data/flair#2-test at
https://huggingface.co/datasets/IGNF/FLAIR hold the same and can be given with --archive.

Also understood: the PNGs (0 to 11, 12 = other) that GSNet's authors made, FLAIR/test/{image,mask}, for the very
pixels of Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked from
https://github.com/yecy749/GSNet). The paper does not say whether its FLAIR is the test of FLAIR #1 or #2; compare the
number of pairs.
"""
import sys

from rs_zeroseg.data.prepare import main
from rs_zeroseg.data.recipes import Archive, Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

HOME = "https://storage.gra.cloud.ovh.net/v1/AUTH_366279ce616242ebb14161b7991a8461/defi-ia/flair_data_2/"
RECIPE = Recipe(
    name="FLAIR",
    licence="etalab-2.0",
    citation="IGN France, FLAIR #2; Garioud et al., NeurIPS 2023, arXiv:2310.13336",
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
            r"IMG_(\d+)\.tif$",
            r"MSK_(\d+)\.tif$",
            codes=tuple(range(1, 13)),
            ignored=tuple(range(13, 20)),
            splits={"test": ("", 16050)},
            archives={
                "test": (
                    Archive(
                        "flair_2_aerial_test.zip", HOME + "flair_2_aerial_test.zip", "a647e0ba7e5345b28c48d7887ee79888"
                    ),
                    Archive(
                        "flair_2_labels_test.zip", HOME + "flair_2_labels_test.zip", "394a769ffcb4a783335eecd3f8baef57"
                    ),
                )
            },
            sample=Sample(
                tuple(
                    (
                        f"flair_2_aerial_test.zip/flair_2_aerial_test/{d}/img/IMG_{n}.tif",
                        f"flair_2_labels_test.zip/flair_2_labels_test/{d}/msk/MSK_{n}.tif",
                    )
                    for d, n in (("D071_2020/Z2_UF", "061946"), ("D084_2021/Z1_NN", "064003"))
                ),
                bands=5,
            ),
        ),
        Layout(
            r"test/image/([^/]+)\.png$",
            r"test/mask/([^/]+)\.png$",
            codes=tuple(range(12)),
            ignored=(12,),
            splits={"test": ("", None)},
            sample=Sample((("FLAIR/test/image/IMG_061946.png", "FLAIR/test/mask/IMG_061946.png"),)),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

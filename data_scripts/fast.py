#!/usr/bin/env python
"""Prepare FAST (val): 37 kinds of aircraft, ships, vehicles and grounds, from SAMRS.

SAMRS turned the boxes of FAIR1M into masks by SAM.

As GSNet's authors lay it out for the paper's Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked
from https://github.com/yecy749/GSNet): [SAMRS/]FAST/val/images/NAME.png and val/semlabels/gray/NAME.png. The set
itself is at https://github.com/ViTAE-Transformer/SAMRS (OneDrive link in its README). The masks hold 0 to 36, 255 =
no object = ignored; names, order and colours are those of "Generate Dataset/mapping.py" in that repository.
"""
import sys

from rs_zeroseg.data.prepare import main
from rs_zeroseg.data.recipes import Layout, Recipe, Sample
from rs_zeroseg.data.vocab import DATASETS

COLOURS = """
#007fff #003f00 #007f3f #003fff #00007f #007f7f #00003f #003f7f #003fbf #00bf7f #007fbf #003f3f
#00649b #0000ff #0000bf #40bf7f #4000bf #803f3f #80003f #bf3f00 #ff7f00 #3f0000 #7f3f00 #3fff00
#007f00 #7f7f00 #3f003f #3f7f00 #3fbf00 #bf7f00 #7fbf00 #3f3f00 #649b00 #00ff00 #00bf00 #bf7f40
#00bf40
""".split()
OTHER = {
    "Small-Car": "car, small car",
    "Motorboat": "motorboat",
    "Van": "van",
    "Bridge": "bridge",
    "Roundabout": "roundabout",
    "Tennis-Court": "tennis court",
    "other-airplane": "airplane",
    "other-ship": "ship",
    "other-vehicle": "vehicle",
    "Football-Field": "football field",
}
RECIPE = Recipe(
    name="FAST",
    licence="research only (SAMRS)",
    citation="Wang et al., SAMRS, NeurIPS 2023, arXiv:2305.02034",
    novel=DATASETS["FAST"].novel,
    categories=tuple(
        (name, colour, OTHER.get(name, name.replace("-", " ") if "-" in name else ""))
        for name, colour in zip(DATASETS["FAST"].order, COLOURS, strict=True)
    ),
    layouts=(
        Layout(
            r"val/images/([^/]+)\.png$",
            r"val/semlabels/gray/([^/]+)\.png$",
            codes=tuple(range(37)),
            ignored=(255,),
            splits={"val": ("", None)},
            by_hand="FAST from https://huggingface.co/datasets/Stev929/OVRSISS_test (as in Table 1) or from the link on https://github.com/ViTAE-Transformer/SAMRS",
            sample=Sample(
                tuple(
                    (f"FAST.zip/FAST/val/images/{name}.png", f"FAST.zip/FAST/val/semlabels/gray/{name}.png")
                    for name in ("10012__1024__0___0", "10012__1024__824___0", "9__1024__0___412")
                ),
                size=(64, 72),
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

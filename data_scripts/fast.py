#!/usr/bin/env python
"""Prepare FAST (val): 37 kinds of aircraft, ships, vehicles and grounds, from SAMRS.

SAMRS turned the boxes of FAIR1M into masks by SAM.

As GSNet's authors lay it out for the paper's Table 1 (https://huggingface.co/datasets/Stev929/OVRSISS_test, linked
from https://github.com/yecy749/GSNet): [SAMRS/]FAST/val/images/NAME.png and val/semlabels/gray/NAME.png.

As SAMRS's own programs read it (https://github.com/ViTAE-Transformer/SAMRS, OneDrive link in its README; "Pretraining
and Finetuning/Encoder_Decoder/main_pretrain.py" and datasets.py): trainval/images/NAME.png and
trainval/rhbox_segs_init/gray/NAME.png, and train.txt and valid.txt list the names. The program counts 64,147 images for
training. How many valid.txt lists, and whether the released archive has these folders, is not written anywhere.

The masks hold 0 to 36, 255 = no object = ignored; names, order and colours are those of "Generate Dataset/mapping.py"
in that repository. A picture without objects has no mask, by design: it is left out and listed.
"""
import sys

from rs_zeroseg.data.command import main
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
TRAINVAL = "samrs/fair1m_1024/trainval"
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
            "gsnet",
            r"val/images/([^/]+)\.png",
            r"val/semlabels/gray/([^/]+)\.png",
            codes=tuple(range(37)),
            follows="https://github.com/yecy749/GSNet, gs_net/data/datasets and README.md",
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
        Layout(
            "samrs",
            r"trainval/images/([^/]+)\.png",
            r"trainval/(?:rhbox_segs_init|semlabels)/gray/([^/]+)\.png",
            codes=tuple(range(37)),
            follows="https://github.com/ViTAE-Transformer/SAMRS, "
            "Pretraining and Finetuning/Encoder_Decoder/datasets.py",
            ignored=(255,),
            splits={"val": ("/valid.txt", None), "train": ("/train.txt", 64147)},
            by_hand="FAST from the OneDrive link on https://github.com/ViTAE-Transformer/SAMRS",
            sample=Sample(
                tuple(
                    (f"{TRAINVAL}/images/{name}.png", f"{TRAINVAL}/rhbox_segs_init/gray/{name}.png")
                    for name in ("10012__1024__0___0", "9__1024__0___412", "9__1024__0___824")
                ),
                alone=(f"{TRAINVAL}/images/9__1024__824___0.png",),
                texts={
                    f"{TRAINVAL}/train.txt": "10012__1024__0___0\n",
                    f"{TRAINVAL}/valid.txt": "9__1024__0___412\n9__1024__0___824\n9__1024__824___0\n",
                },
                size=(64, 72),
            ),
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))

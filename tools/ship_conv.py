"""Make the convolutional pocket encoder from captions and put it beside the weights that ship with the package.

It is stage 1 of nbs/3_training/04_pretrain.ipynb, for another encoder.

    python tools/ship_conv.py runs/conv --real data/dubai-train --name "Dubai tiles 1-4"
"""
import argparse
from pathlib import Path

import torch
from ship_weights import NUMBERS, measure, real_imagery

from rs_zeroseg.model.checkpoint import WEIGHTS, save
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import Segmenter, ZeroShotConfig
from rs_zeroseg.training.crops import WORDS, batches_of, sources
from rs_zeroseg.training.loop import fit
from rs_zeroseg.training.pretrain import VLM_PLAN, CaptionedVLM, caption_loss

SCENES, CROP_PX = 2400, 32
CARD = """# pocket-conv-zero-shot

Pocket-scale weights of the RS-ZeroSeg workbook: a small convolutional hierarchy that reads words, \
the encoder of SED (`nbs/4_baselines/04_sed.ipynb`), before any head was trained. \
It is made to be taken apart, not to be used in earnest.

- **Made by** `tools/ship_conv.py` ({steps} steps of captions, as the VLM stream of `pocket`), seed 0.
- **Trained on** procedural scenes of the training domain; {real}.
- **Never trained on**: pixel labels; the shifted domains; any other real imagery.
- **Text**: static word vectors of WordLlama (MIT), read from the installed package.
"""


def pretrain(out:Path, real:Path|None) -> Segmenter:
    "Stage 1 for this encoder; resumes where it was stopped."
    torch.manual_seed(0)
    model = build(ZeroShotConfig(vlm="pocket-conv"))
    captioned = CaptionedVLM(model.vlm)
    batches = batches_of(sources(SCENES, 0, real), VLM_PLAN.batch_size, CROP_PX, 0)
    loss = caption_loss(model.text.encode(list(WORDS)))
    about = dict(run_seed=0, scenes=SCENES, real=bool(real))
    fit(captioned, loss, batches, VLM_PLAN, out/"vlm", name="VLM from captions", about=about)
    model.scale.data = captioned.log_scale.data.exp()
    model.bias.data = captioned.bias.data
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for checkpoints")
    parser.add_argument("--real", type=Path, help="folder of a real data set whose words join the captions")
    parser.add_argument("--name", default="real imagery", help="what that data set is")
    parser.add_argument("-n", type=int, default=40, help="scenes per domain")
    args = parser.parse_args()

    model = pretrain(args.out, args.real)
    rows = measure(model, args.n)
    card = CARD.format(steps=VLM_PLAN.steps, real=real_imagery(args.name if args.real else None))
    card += NUMBERS.format(threshold=model.threshold, n=args.n, rows=rows)
    save(model, WEIGHTS/"pocket-conv-zero-shot", half=True, card=card)
    print(rows)


if __name__ == "__main__":
    main()

"""Make the convolutional pocket encoder from captions (stage 1 of nbs/15_pretrain.ipynb) and put it beside the weights that ship with the package.

    python tools/ship_conv.py runs/conv --real data/dubai-train --name "Dubai tiles 1-4"
"""
import argparse
from pathlib import Path

import torch
from ship_weights import REAL, measure

from rs_zeroseg.model.checkpoint import WEIGHTS, build, save
from rs_zeroseg.model.segmenter import ZeroShotConfig
from rs_zeroseg.training.crops import WORDS, batches_of, sources
from rs_zeroseg.training.pretrain import VLM_PLAN, CaptionedVLM, caption_loss
from rs_zeroseg.training.loop import fit

CARD = """# pocket-conv-zero-shot

Pocket-scale weights of the RS-ZeroSeg workbook: a small convolutional hierarchy that reads words, the encoder of SED (`nbs/baselines/04_sed.ipynb`), before any head was trained. It is made to be taken apart, not to be used in earnest.

- **Made by** `tools/ship_conv.py` ({steps} steps of captions, as the VLM stream of `pocket`), seed 0.
- **Trained on** procedural scenes of the training domain; {real}.
- **Never trained on**: pixel labels; the shifted domains; any other real imagery.
- **Text**: static word vectors of WordLlama (MIT), read from the installed package.
- **Threshold** for "none of the words": {threshold:.3f}, from 20 scenes used for nothing else.
- **Licence**: Apache-2.0.

## Pocket numbers, {n} scenes per domain (percent; mIoU at threshold 0; absent = area given to things that are not there)

| domain | base | novel | unseen words | absent | absent at the threshold |
|---|---|---|---|---|---|
{rows}
"""


def pretrain(out: Path, real: Path | None):
    "Stage 1 for this encoder; resumes where it was stopped."
    torch.manual_seed(0); model = build(ZeroShotConfig(vlm="pocket-conv")); captioned = CaptionedVLM(model.vlm)
    fit(captioned, caption_loss(model.text.encode(list(WORDS))), batches_of(sources(2400, 0, real), VLM_PLAN.batch_size, 32, 0), VLM_PLAN, out/"vlm",
        name="VLM from captions", about=dict(run_seed=0, scenes=2400, real=bool(real)))
    model.scale.data, model.bias.data = captioned.log_scale.data.exp(), captioned.bias.data
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path); parser.add_argument("--real", type=Path, help="folder of a real data set whose words join the captions")
    parser.add_argument("--name", default="real imagery", help="what that data set is"); parser.add_argument("-n", type=int, default=40)
    a = parser.parse_args()
    model = pretrain(a.out, a.real); rows = measure(model, a.n)
    real = REAL.format(name=a.name) if a.real else "no real imagery"
    save(model, WEIGHTS/"pocket-conv-zero-shot", half=True, card=CARD.format(steps=VLM_PLAN.steps, real=real, threshold=model.threshold, n=a.n, rows=rows))
    print(rows)


if __name__ == "__main__": main()

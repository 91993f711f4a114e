"""Turn a finished `pretrain` and `train` into the weights that ship with the package, with a model card that holds measured numbers only.

    python tools/ship_weights.py runs/pretrain runs/pocket --real "Dubai tiles 1-4"
"""
import argparse
import json
from pathlib import Path

from rs_zeroseg.model.checkpoint import WEIGHTS, load, save
from rs_zeroseg.evidence.evaluate import evaluate_pocket
from rs_zeroseg.model.metrics import calibrate_threshold
from rs_zeroseg.data.pocket import DOMAINS, make_scene

CARD = """# {title}

Pocket-scale weights of the RS-ZeroSeg workbook: {what}. They are made to be taken apart, not to be used in earnest.

- **Made by** `rs_zeroseg pretrain` ({vlm_steps} + {rsi_steps} steps) and `rs_zeroseg train` ({train_steps} steps), seed 0, and `tools/ship_weights.py`.
- **Trained on** procedural scenes of the training domain; {real}.
- **Never trained on**: pixel labels of novel categories; the shifted domains; any other real imagery.
- **Text**: static word vectors of WordLlama (MIT), read from the installed package.
- **Threshold** for "none of the words": {threshold:.3f}, from 20 scenes used for nothing else.
- **Licence**: Apache-2.0.

## Pocket numbers, {n} scenes per domain (percent; mIoU at threshold 0; absent = area given to things that are not there)

| domain | base | novel | unseen words | absent | absent at the threshold |
|---|---|---|---|---|---|
{rows}
"""
REAL = ("crops of the {name} of \"Semantic segmentation of aerial imagery\", Humans in the Loop and the Mohammed Bin Rashid Space Centre (MBRSC), CC0, "
        "humansintheloop.org (three tenths of each batch)")


def measure(model, n: int) -> str:
    "Calibrate a model's threshold, and evaluate it on n scenes of each domain: the rows of the card's table."
    model.threshold = calibrate_threshold(model, [make_scene(900_000 + i) for i in range(20)])
    results = [evaluate_pocket(model, d, n) for d in DOMAINS]
    return "\n".join("| " + " | ".join([r["domain"], *(f"{r[k]:.1f}" for k in ("base", "novel", "unseen", "absent", "absent_at_threshold"))]) + " |" for r in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretrain", type=Path); parser.add_argument("train", type=Path)
    parser.add_argument("--real", help="what real imagery was trained on; left out: none"); parser.add_argument("-n", type=int, default=40)
    a = parser.parse_args()
    steps = {p: json.loads((sorted(f.glob("step-*"))[-1]/"state.json").read_text(encoding="utf-8"))["step"]
             for p, f in (("vlm_steps", a.pretrain/"vlm"), ("rsi_steps", a.pretrain/"rsi"), ("train_steps", a.train))}
    real = REAL.format(name=a.real) if a.real else "no real imagery"
    for name, folder, what in (("pocket-zero-shot", a.pretrain/"zero-shot", "the VLM stream read alone, before any head was trained"),
                               ("pocket", a.train/"model", "two small encoders, DSFE, MS-CAM and CARH")):
        model = load(folder); rows = measure(model, a.n)
        save(model, WEIGHTS/name, half=True, card=CARD.format(title=name, what=what, real=real, threshold=model.threshold, n=a.n, rows=rows, **steps))
        print(f"{WEIGHTS/name}\n{rows}")


if __name__ == "__main__": main()

"""Turn a finished `pretrain` and `train` into the weights that ship with the package.

Their model card holds measured numbers only.

    python tools/ship_weights.py runs/pretrain runs/pocket --real "Dubai tiles 1-4"
"""
import argparse
import json
from pathlib import Path

from rs_zeroseg.data.pocket import DOMAINS, make_scene
from rs_zeroseg.evidence.evaluate import evaluate_pocket
from rs_zeroseg.model.checkpoint import WEIGHTS, load, save
from rs_zeroseg.model.metrics import calibrate_threshold
from rs_zeroseg.model.segmenter import Segmenter

# a card's paragraphs are lines, as long as they are
CARD = """# {title}

Pocket-scale weights of the RS-ZeroSeg workbook: {what}. \
They are made to be taken apart, not to be used in earnest.

- **Made by** `rs_zeroseg pretrain` ({vlm_steps} + {rsi_steps} steps) and `rs_zeroseg train` ({train_steps} steps), \
seed 0, and `tools/ship_weights.py`.
- **Trained on** procedural scenes of the training domain; {real}.
- **Never trained on**: pixel labels of novel categories; the shifted domains; any other real imagery.
- **Text**: static word vectors of WordLlama (MIT), read from the installed package.
"""
NUMBERS = """\
- **Threshold** for "none of the words": {threshold:.3f}, from 20 scenes used for nothing else.
- **Licence**: Apache-2.0.

## Pocket numbers, {n} scenes per domain (percent; mIoU at threshold 0; \
absent = area given to things that are not there)

| domain | base | novel | unseen words | absent | absent at the threshold |
|---|---|---|---|---|---|
{rows}
"""
REAL = ("crops of the {name} of \"Semantic segmentation of aerial imagery\", Humans in the Loop and the Mohammed Bin "
        "Rashid Space Centre (MBRSC), CC0, humansintheloop.org (three tenths of each batch)")
COLUMNS = ("base", "novel", "unseen", "absent", "absent_at_threshold")
MODELS = {   # folder in `WEIGHTS` -> what it holds
    "pocket-zero-shot": "the VLM stream read alone, before any head was trained",
    "pocket": "two small encoders, DSFE, MS-CAM and CARH",
}


def real_imagery(name:str|None) -> str:
    "What a card says about real imagery in the training."
    return REAL.format(name=name) if name else "no real imagery"


def measure(model:Segmenter, n:int) -> str:
    "Calibrate a model's threshold, and evaluate it on n scenes of each domain: the rows of the card's table."
    model.threshold = calibrate_threshold(model, [make_scene(900_000 + i) for i in range(20)])
    rows = []
    for domain in DOMAINS:
        result = evaluate_pocket(model, domain, n)
        cells = [result["domain"], *(f"{result[column]:.1f}" for column in COLUMNS)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def steps_done(folder:Path) -> int:
    "How many steps a training has made, from its last checkpoint."
    last = sorted(folder.glob("step-*"))[-1]
    return json.loads((last/"state.json").read_text(encoding="utf-8"))["step"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretrain", type=Path, help="folder that `rs_zeroseg pretrain` made")
    parser.add_argument("train", type=Path, help="folder that `rs_zeroseg train` made")
    parser.add_argument("--real", help="what real imagery was trained on; left out: none")
    parser.add_argument("-n", type=int, default=40, help="scenes per domain")
    args = parser.parse_args()

    trainings = dict(vlm_steps=args.pretrain/"vlm", rsi_steps=args.pretrain/"rsi", train_steps=args.train)
    steps = {name: steps_done(folder) for name, folder in trainings.items()}
    folders = {"pocket-zero-shot": args.pretrain/"zero-shot", "pocket": args.train/"model"}
    for name, what in MODELS.items():
        model = load(folders[name])
        rows = measure(model, args.n)
        card = CARD.format(title=name, what=what, real=real_imagery(args.real), **steps)
        card += NUMBERS.format(threshold=model.threshold, n=args.n, rows=rows)
        save(model, WEIGHTS/name, half=True, card=card)
        print(f"{WEIGHTS/name}\n{rows}")


if __name__ == "__main__":
    main()

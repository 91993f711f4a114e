"""Turn a finished `pretrain` and `train` into the weights that ship with the package: `pocket-zero-shot` and `pocket`.

Their model card holds measured numbers only.

    python tools/ship_weights.py runs/pretrain runs/pocket --real "tiles 1-4" --images "1,890 UC Merced pictures, ..."
"""
import argparse
import json
from pathlib import Path

from rs_zeroseg.data.pocket import DOMAINS, make_scene
from rs_zeroseg.evidence.evaluate import TIERS, evaluate_pocket
from rs_zeroseg.model.checkpoint import WEIGHTS, load, save
from rs_zeroseg.model.metrics import calibrate_threshold
from rs_zeroseg.model.segmenter import Segmenter

# a card's paragraphs are lines, as long as they are
CARD = """# {title}

Pocket-scale weights of the RS-ZeroSeg workbook: {what}. \
They are made to be taken apart, not to be used in earnest.

- **Made by** `rs_zeroseg pretrain` ({vlm_steps} + {rsi_steps} steps) and `rs_zeroseg train --clip full` \
({train_steps} steps, then halfway back), seed 0, and `tools/ship_weights.py`.
- **Captions** (what the VLM learned words from): words of windows of 64 to 72 px of drawn scenes of the training \
domain, and of windows of 40 to 128 px of real imagery. No mask chose a window; its words are read off the labels of \
what lies in it. \
Words of novel categories stand in these captions and nowhere else; unseen words stand nowhere.
- **Pixel labels**: {labels}.
- **Real imagery with words**: {real}.
- **Pictures without any word** (what the RSI stream learned from): drawn scenes; {images}.
- **Never trained on**: the shifted domains; any other real imagery.
- **Text**: all-MiniLM-L6-v2 (Apache-2.0), fetched by its hash (`rs_zeroseg fetch text`). \
It is not part of these weights and was not trained here.
- **Threshold** for "none of the words": {threshold:.3f}, from 20 scenes used for nothing else.
- **Licence**: Apache-2.0.
"""
SCORES = """
## Pocket numbers, {n} scenes per domain (percent; mIoU at threshold 0; \
absent = area given to things that are not there)

| domain | base | novel | unseen words | absent | absent at the threshold |
|---|---|---|---|---|---|
{rows}
"""
ATTENTION = """
## A_k on the same scenes (percent; AP = average precision, in brackets its chance: the share of the word's pixels; \
chance of AUROC is 50)

Means over the words of a tier; each category is asked by its name and by an unseen word.

| domain | base: AP | AUROC | novel: AP | AUROC | unseen: AP | AUROC |
|---|---|---|---|---|---|---|
{rows}
"""
REAL = ("{name} of \"Semantic segmentation of aerial imagery\", Humans in the Loop and the Mohammed Bin Rashid Space "
        "Centre (MBRSC), CC0, humansintheloop.org: words of base categories only (three tenths of each batch)")
COLUMNS = ("base", "novel", "unseen", "absent", "absent_at_threshold")
MODELS = {   # folder in `WEIGHTS` -> what it holds, and which pixel labels it was trained on
    "pocket-zero-shot": ("the VLM stream read alone, before any head was trained", "none"),
    "pocket": ("two small encoders, DSFE, MS-CAM and CARH",
               "base categories only, of the drawn scenes and of the real imagery below. "
               "No pixel label of a novel category reached any loss"),
}


def row(*cells: str) -> str:
    "A line of a table."
    return "| " + " | ".join(cells) + " |"


def scores_row(result: dict) -> str:
    "mIoU per tier and the area of absent things, from `evaluate_pocket`."
    return row(result["domain"], *(f"{result[column]:.1f}" for column in COLUMNS))


def attention_row(result: dict) -> str:
    "AP of A_k with its chance, and AUROC, per tier, from `evaluate_pocket`."
    ap, chance, auroc = (result[f"attention_{name}"] for name in ("ap", "chance", "auroc"))
    cells = ((f"{ap[t]:.1f} ({chance[t]:.1f})", f"{auroc[t]:.1f}") for t in TIERS)
    return row(result["domain"], *(cell for pair in cells for cell in pair))


def tables(model: Segmenter, n: int) -> str:
    "What n scenes of each domain say of a model; without A_k, of its scores alone."
    results = [evaluate_pocket(model, domain, n) for domain in DOMAINS]
    told = SCORES.format(n=n, rows="\n".join(map(scores_row, results)))
    if results[0]["attention_ap"] is not None:
        told += ATTENTION.format(rows="\n".join(map(attention_row, results)))
    return told


def steps_done(folder: Path) -> int:
    "How many steps a training has made, from its last checkpoint."
    last = sorted(folder.glob("step-*"))[-1]
    return json.loads((last/"state.json").read_text(encoding="utf-8"))["step"]


def arguments() -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretrain", type=Path, help="folder that `rs_zeroseg pretrain` made")
    parser.add_argument("train", type=Path, help="folder that `rs_zeroseg train` made")
    parser.add_argument("--real", metavar="TEXT", help="which Dubai tiles were trained on; left out: none")
    parser.add_argument("--images", metavar="TEXT",
                        help="which real pictures the RSI stream saw, with their attributions; left out: none")
    parser.add_argument("-n", type=int, default=40, help="scenes per domain")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    trainings = dict(vlm_steps=args.pretrain/"vlm", rsi_steps=args.pretrain/"rsi", train_steps=args.train)
    told = {name: steps_done(folder) for name, folder in trainings.items()}
    told |= dict(real=REAL.format(name=args.real) if args.real else "none", images=args.images or "no real picture")
    folders = {"pocket-zero-shot": args.pretrain/"zero-shot", "pocket": args.train/"model"}
    for name, (what, labels) in MODELS.items():
        model = load(folders[name])
        model.threshold = calibrate_threshold(model, [make_scene(900_000 + i) for i in range(20)])
        numbers = tables(model, args.n)
        card = CARD.format(title=name, what=what, labels=labels, threshold=model.threshold, **told)
        save(model, WEIGHTS/name, half=True, card=card + numbers)
        print(f"{WEIGHTS/name}\n{numbers}")


if __name__ == "__main__":
    main()

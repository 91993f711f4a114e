"""Turn a finished `pretrain` and `train` into the weights that ship with the package: `pocket-zero-shot` and `pocket`.

Their model card holds measured numbers only.

    python tools/ship_weights.py runs/pretrain runs/pocket --real "tiles 1-4" --images "1,890 UC Merced pictures, ..."

Without a training the VLM stream ships alone, as the smaller ones of Table 5 do:

    rs_zeroseg pretrain --vlm pocket-small --dubai data/dubai-train --out runs/small
    python tools/ship_weights.py runs/small --real "tiles 1-4"
"""
import argparse
import json
import sys
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

- **Made by** {made}, seed 0, and `tools/ship_weights.py`.
- **Captions** (what the VLM learned words from): words of windows of 64 to 72 px of drawn scenes of the training \
domain, and of windows of 40 to 128 px of real imagery. No mask chose a window; its words are read off the labels of \
what lies in it. \
Words of novel categories stand in these captions and nowhere else; unseen words stand nowhere.
- **Pixel labels**: {labels}.
- **Real imagery with words**: {real}.
- **Pictures without any word** (what the RSI stream learned from): {images}.
- **Never trained on**: the shifted domains; any other real imagery.
- **Text**: all-MiniLM-L6-v2 (Apache-2.0), fetched by its hash (`rs_zeroseg fetch text`). \
It is not part of these weights and was not trained here.
- **Threshold** for "none of the words": {threshold:.3f}, from 20 scenes used for nothing else.
- **Licence**: Apache-2.0.
"""
BOTH = ("`rs_zeroseg pretrain` ({vlm_steps} + {rsi_steps} steps) and `rs_zeroseg train --clip full` "
        "({train_steps} steps, then halfway back)")
VLM_ALONE = "`rs_zeroseg pretrain --vlm {size}` ({vlm_steps} steps of its first stage)"
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
# what a folder in `WEIGHTS` holds, and which pixel labels it was trained on
ALONE = "the VLM stream read alone, before any head was trained", "none"
TRAINED = ("two small encoders, DSFE, MS-CAM and CARH",
           "base categories only, of the drawn scenes and of the real imagery below. "
           "No pixel label of a novel category reached any loss")


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
    parser.add_argument("train", type=Path, nargs="?",
                        help="folder that `rs_zeroseg train` made; left out: the VLM stream ships alone")
    parser.add_argument("--real", metavar="TEXT", help="which Dubai tiles were trained on; left out: none")
    parser.add_argument("--images", metavar="TEXT",
                        help="which real pictures the RSI stream saw, with their attributions; left out: none")
    parser.add_argument("-n", type=int, default=40, help="scenes per domain")
    return parser.parse_args()


def ship(folder: Path, name: str, kind: tuple[str, str], n: int, told: dict[str, str]) -> None:
    "A model with its threshold and its card, from a folder into the package."
    model, (what, labels) = load(folder), kind
    model.threshold = calibrate_threshold(model, [make_scene(900_000 + i) for i in range(20)])
    numbers = tables(model, n)
    card = CARD.format(title=name, what=what, labels=labels, threshold=model.threshold, **told)
    save(model, WEIGHTS/name, half=True, card=card + numbers)
    print(f"{WEIGHTS/name}\n{numbers}")


def main() -> None:
    args = arguments()
    captioned = args.pretrain/"zero-shot"
    size = load(captioned).config.vlm
    told = dict(real=REAL.format(name=args.real) if args.real else "none")
    if (args.train is None) == (size == "pocket"):
        sys.exit(f"{args.pretrain}: its VLM is of the size {size}; give a training for the size pocket, "
                 "and none for a smaller one")
    vlm_steps = steps_done(args.pretrain/"vlm")
    if args.train is None:
        told |= dict(made=VLM_ALONE.format(size=size, vlm_steps=vlm_steps), images="none, for it has no RSI stream")
        ship(captioned, f"{size}-zero-shot", ALONE, args.n, told)
        return
    rsi_steps, train_steps = steps_done(args.pretrain/"rsi"), steps_done(args.train)
    made = BOTH.format(vlm_steps=vlm_steps, rsi_steps=rsi_steps, train_steps=train_steps)
    told |= dict(made=made, images=f"drawn scenes; {args.images or 'no real picture'}")
    ship(captioned, "pocket-zero-shot", ALONE, args.n, told)
    ship(args.train/"model", "pocket", TRAINED, args.n, told)


if __name__ == "__main__":
    main()

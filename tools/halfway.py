"""What is gained and lost on the way of the VLM stream from its captions to the pixel labels.

Reads a finished `pretrain` and `train`, puts the stream at points between the two, and measures 24 scenes that no
table reads. The rows are shown in nbs/3_training/05_segmentation.ipynb.

    python tools/halfway.py runs/pretrain runs/pocket --out nbs/3_training/halfway.jsonl
"""
import argparse
import json
from pathlib import Path

from safetensors.torch import load_file

from rs_zeroseg.data.files import whole_files
from rs_zeroseg.evidence.evaluate import evaluate_pocket
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.training.segmentation import part_way

SEED0 = 700_000   # of the scenes that are measured; no table reads them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretrain", type=Path, help="folder that `rs_zeroseg pretrain` made")
    parser.add_argument("train", type=Path, help="folder that `rs_zeroseg train` made")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    args = parser.parse_args()

    before = load(args.pretrain/"zero-shot").vlm.state_dict()
    last = sorted(args.train.glob("step-*"))[-1]
    rows = []
    for share in (0., .25, .5, .75, 1.):
        model = load(args.train/"model")
        model.load_state_dict({name: t for name, t in load_file(last/"model.safetensors").items()})
        part_way(model.vlm, before, share)
        result = evaluate_pocket(model, n=24, seed0=SEED0)
        told = {key: round(result[key], 1) for key in ("base", "novel", "unseen")}
        rows.append(dict(share=share, step=int(last.name.removeprefix("step-")), seed=0, measured=24) | told)
        print(rows[-1])
    with whole_files(args.out) as (part,):
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

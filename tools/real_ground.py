"""Train a closed-set U-Net and RS-ZeroSeg on the same tiles for the same time; one JSON line per run (nbs/21_real_ground.ipynb)."""
import argparse
import json
from pathlib import Path

from tqdm.auto import tqdm

from rs_zeroseg.evidence.real_ground import CONTENDERS, compare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--train", type=Path, required=True, help="folder of labelled tiles (data_scripts/dubai.py)")
parser.add_argument("--test", type=Path, required=True, help="folder of other tiles")
parser.add_argument("--encoders", type=Path, required=True, help="folder that `rs_zeroseg pretrain` made")
parser.add_argument("--out", type=Path, required=True, help="the runs, JSON lines; those that it holds are not made again")
parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
parser.add_argument("--seconds", type=float, default=60, help="training time of each run")
args = parser.parse_args()

lines = args.out.read_text(encoding="utf-8").splitlines() if args.out.exists() else []
done = [(row["who"], row["seed"]) for row in map(json.loads, lines)]
total = 1 + len(CONTENDERS)*len(args.seeds)
for row in tqdm(compare(args.train, args.test, args.encoders, args.seeds, args.seconds, done), total=total, initial=len(done), unit="run"):
    with args.out.open("a", encoding="utf-8") as file: file.write(json.dumps(row) + "\n")

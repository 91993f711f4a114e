"""Train a closed-set U-Net and RS-ZeroSeg on the same tiles for the same time (nbs/5_evidence/10_real_ground.ipynb).

Each run is one JSON line; those that the file holds are not made again.
"""
import argparse
import json
from pathlib import Path

from tqdm.auto import tqdm

from rs_zeroseg.evidence.real_ground import CONTENDERS, compare


def arguments() -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="folder of labelled tiles (data_scripts/dubai.py)")
    parser.add_argument("--test", type=Path, required=True, help="folder of other tiles")
    parser.add_argument("--encoders", type=Path,
                        help="folder that `rs_zeroseg pretrain` made; left out: the encoders of the package")
    parser.add_argument("--out", type=Path, required=True, help="the runs, JSON lines")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)), help="0 to 4 unless given")
    parser.add_argument("--seconds", type=float, default=60, help="training time of each run")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    lines = args.out.read_text(encoding="utf-8").splitlines() if args.out.exists() else []
    done = [(row["who"], row["seed"]) for row in map(json.loads, lines)]
    total = 1 + len(CONTENDERS)*len(args.seeds)
    rows = compare(args.train, args.test, args.encoders, args.seeds, args.seconds, done)
    for row in tqdm(rows, total=total, initial=len(done), unit="run"):
        with args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

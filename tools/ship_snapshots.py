"""Make the steps of a training that come with the package: rs_zeroseg/weights/watch, for the slider of the explorer.

    python tools/ship_snapshots.py runs/watch

If the folder holds no run yet, one is made first: stage 3 on the encoders that come with the package, both streams
frozen, with eight snapshots. Of each snapshot only what training changed is kept, matrices in 8 bit.
"""
import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rs_zeroseg.data.files import whole_folder
from rs_zeroseg.model.checkpoint import WEIGHTS, load
from rs_zeroseg.training.segmentation import SEGMENTATION_PLAN, train_pocket
from rs_zeroseg.use.choices import UNTRAINED, model_named, snapshots
from rs_zeroseg.use.view import WATCH, keep_changes

MOST_BYTES = 12e6   # of all weights that come with the package


def arguments() -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with snapshots, or of the one that is made")
    parser.add_argument("--out", type=Path, default=WATCH, help="folder to write")
    parser.add_argument("--steps", type=int, default=300, help="of the run that is made, if there is none")
    parser.add_argument("--count", type=int, default=8,
                        help="at most this many snapshots of the run that is made, 2 or more")
    return parser.parse_args()


def ship(run: Path, out: Path) -> list[Path]:
    """The small files of a run's snapshots, in the place of those that `out` holds.

    Raises
    ------
    ValueError
        If the run has no snapshots, its files are too large, or `out` holds something else. Says what to do."""
    strange = [path for path in out.glob("*") if not path.match("step-*.safetensors")]
    if strange:
        raise ValueError(f"{out}: holds {strange[0].name}, which is no step of a training; choose another folder")
    others = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file() and WATCH not in path.parents)
    with whole_folder(out) as part:
        for snapshot in snapshots(str(run)):
            keep_changes(load(snapshot), model_named(UNTRAINED), part/f"{snapshot.name}.safetensors")
        size = sum(path.stat().st_size for path in part.iterdir())
        if size + others > MOST_BYTES:
            raise ValueError(f"{run}: {size/1e6:.1f} MB, and all weights together may have {MOST_BYTES/1e6:.0f} MB; "
                             "train with frozen streams (--clip freeze), or with fewer snapshots")
    return sorted(out.iterdir())


def main() -> int:
    args = arguments()
    try:
        if not (args.run/"snapshots").is_dir():
            every = -(-args.steps//max(1, args.count - 1))              # the last step is one more snapshot
            plan = replace(SEGMENTATION_PLAN, steps=args.steps)
            train_pocket(args.run, None, plan=plan, clip="freeze", snapshots=every)
        made = ship(args.run, args.out)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(made)} steps, {sum(path.stat().st_size for path in made)/1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

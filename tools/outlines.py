"""Average precision of A_k and S_k on real pictures with outlines (nbs/5_evidence/11_outlines.ipynb).

Each model, word and scale is one JSON line. The file is written anew.
"""
import argparse
import json
import sys
from pathlib import Path

from tqdm.auto import tqdm

from rs_zeroseg import load
from rs_zeroseg.data.files import whole_files
from rs_zeroseg.evidence.outlines import outline_scores, read_outlines

OUTLINES = Path(__file__).parent.parent / "nbs" / "5_evidence" / "outlines.json"


def arguments(given: list[str] | None) -> argparse.Namespace:
    "What the command line says."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with UC Merced's pictures")
    parser.add_argument("--checkpoint", nargs="+", default=["pocket"], help="what `load` takes ('pocket')")
    parser.add_argument("--scales", type=float, nargs="+", default=[1., .5], help="of the pictures (1 and 0.5)")
    parser.add_argument("--out", type=Path, required=True, help="the result, JSON lines")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    args = arguments(given)
    outlines, rows = read_outlines(OUTLINES), []
    try:
        for name in args.checkpoint:
            scores = outline_scores(load(name), args.images, outlines, args.scales)
            for row in tqdm(scores, total=len(outlines)*len(args.scales), desc=name, unit="row"):
                rows.append(dict(model=Path(name).name, **row))
        with whole_files(args.out) as (part,):
            part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run every notebook of the six parts against the package instead of its own export cells, under coverage.

`nbdev_test` runs the code of the notebooks, so it cannot say which lines of the package are exercised. Here each
cell marked for export is replaced by an import of the module's names; the demonstrations and tests around it then run
the package's lines. Each notebook has its own process, two at a time; the results are combined in .coverage, and
pytest adds its own with `coverage run --append`.

    python tools/coverage_notebooks.py              all of them
    python tools/coverage_notebooks.py NOTEBOOK     one, in this process
"""
import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from execnb.nbio import read_nb
from execnb.shell import CaptureShell

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = ("slow", "gpu", "data", "notest", "eval: false")    # as `tst_flags` in settings.ini
IMPORT = "import rs_zeroseg.{} as _m; globals().update({{k: v for k, v in vars(_m).items() if not k.startswith('__')}})"


def flags(cell) -> list[str]:
    "The `#|` lines of a cell, without the mark."
    return [line.removeprefix("#|").strip() for line in cell.source.splitlines() if line.startswith("#|")]


def is_exported(cell) -> bool:
    "Is it a code cell that goes into the module?"
    first_words = [flag.partition(" ")[0] for flag in flags(cell)]
    return cell.cell_type == "code" and bool({"export", "exporti", "exports"} & set(first_words))


def is_skipped(cell) -> bool:
    "Is it a code cell that no test runs?"
    return cell.cell_type == "code" and any(f in SKIPPED for f in flags(cell))


def run(path:Path) -> None:
    "One notebook in this process; an error ends it."
    nb = read_nb(path)
    module = next((f.split()[1] for cell in nb.cells for f in flags(cell) if f.startswith("default_exp")), None)
    for cell in nb.cells:
        if is_exported(cell):
            cell.source = IMPORT.format(module)
    os.chdir(path.parent)
    shell = CaptureShell(path)
    try:
        shell.run_all(nb, exc_stop=True, preproc=is_skipped)
    except Exception:
        sys.exit(f"{path.name}: {shell.prettytb(fname=path)}")


def coverage(*args:str) -> int:
    "A command of coverage in the repository's root; its exit code."
    return subprocess.run([sys.executable, "-m", "coverage", *args], cwd=ROOT).returncode


def run_all() -> None:
    "Every notebook of the six parts in a process of its own, then the results as one file."
    notebooks = sorted((ROOT/"nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb"))
    coverage("erase")
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda path: coverage("run", "--parallel-mode", __file__, str(path)), notebooks))
    coverage("combine", "--quiet")
    failed = [f"{path.parent.name}/{path.stem}" for path, code in zip(notebooks, codes) if code]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path, nargs="?", help="run this one only, in this process")
    args = parser.parse_args()
    if args.notebook is None:
        run_all()
    else:
        run(args.notebook.resolve())


if __name__ == "__main__":
    main()

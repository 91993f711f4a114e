"""Run every notebook against the package instead of its own export cells, under coverage.

`nbdev_test` runs the code of the notebooks, so it cannot say which lines of the package are exercised. Here each cell marked for export is
replaced by an import of the module's names; the demonstrations and tests around it then run the package's lines. Each notebook has its own
process, two at a time; the results are combined in .coverage, and pytest adds its own with `coverage run --append`."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from execnb.nbio import read_nb
from execnb.shell import CaptureShell

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = ("slow", "gpu", "data", "notest", "eval: false")    # as `tst_flags` in settings.ini


def flags(cell) -> list[str]:
    "The `#|` lines of a cell, without the mark."
    return [line.removeprefix("#|").strip() for line in cell.source.splitlines() if line.startswith("#|")]


def run(path: Path) -> None:
    "One notebook in this process; an error ends it."
    nb = read_nb(path)
    module = next((f.split()[1] for c in nb.cells for f in flags(c) if f.startswith("default_exp")), None)
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        if any(f == "export" or f.startswith(("export ", "exporti")) for f in flags(cell)):
            cell.source = f"import rs_zeroseg.{module} as _m; globals().update({{k: v for k, v in vars(_m).items() if not k.startswith('__')}})"
    os.chdir(path.parent)
    shell = CaptureShell(path)
    try: shell.run_all(nb, exc_stop=True, preproc=lambda c: c.cell_type == "code" and any(f in SKIPPED for f in flags(c)))
    except Exception: sys.exit(f"{path.name}: {shell.prettytb(fname=path)}")


if __name__ == "__main__":
    if len(sys.argv) > 1: run(Path(sys.argv[1]).resolve())
    else:
        def coverage(*args): return subprocess.run([sys.executable, "-m", "coverage", *args], cwd=ROOT).returncode
        coverage("erase")
        notebooks = sorted((ROOT / "nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb"))
        with ThreadPoolExecutor(2) as pool: codes = list(pool.map(lambda p: coverage("run", "--parallel-mode", __file__, str(p)), notebooks))
        failed = [p.name for p, code in zip(notebooks, codes) if code]
        coverage("combine", "--quiet")
        if failed: sys.exit(f"failed: {', '.join(failed)}")

"""Run every notebook once, against the package instead of its own export cells, under coverage.

`nbdev_test` runs the code of the notebooks, so it cannot say which lines of the package are exercised. Here each
cell marked for export becomes an import of the names that it defines. The demonstrations and tests around it then run
the package's lines, still from top to bottom. That package and notebooks agree is tested in tests/test_repo.py.

Each notebook has its own process, two at a time. What they all import is loaded once, in the process they are forked
from. The results are combined in .coverage, and pytest adds its own with `--cov-append`.

    python tools/coverage_notebooks.py                 all of them
    python tools/coverage_notebooks.py NOTEBOOK ...    these
"""
import argparse
import ast
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from symtable import symtable

from coverage import Coverage
from execnb.nbio import read_nb
from execnb.shell import CaptureShell

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = ("slow", "gpu", "data", "notest", "eval: false")    # as `tst_flags` in settings.ini
AT_ONCE = 2
LOADED = ["torch", "torchvision", "open_clip", "timm", "kornia", "torchmetrics", "rasterio", "pandas", "ipywidgets",
          "matplotlib.pyplot", "scipy.ndimage", "execnb.shell", "coverage"]


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


def imported(source:str, module:str) -> str:
    "The import of what a cell defines or imports, from the module that it is exported to."
    tree = ast.parse(source)
    for_types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    tree.body = [node for node in tree.body if node not in for_types]      # those names exist for type checkers only
    symbols = symtable(ast.unparse(tree), "cell", "exec").get_symbols()
    names = [s.get_name() for s in symbols if s.is_assigned() or s.is_imported()]
    return f"from rs_zeroseg.{module} import {', '.join(names)}" if names else f"import rs_zeroseg.{module}"


def against_package(path:Path):
    "A notebook whose cells to export are imports."
    nb = read_nb(path)
    module = next((f.split()[1] for cell in nb.cells for f in flags(cell) if f.startswith("default_exp")), None)
    for cell in nb.cells:
        if is_exported(cell):
            cell.source = imported(cell.source, module)
    return nb


def run(path:Path) -> None:
    "One notebook under coverage; an error is told and ends the process with 1."
    os.chdir(ROOT)                                            # where .coveragerc is, and the results go
    nb, measured = against_package(path), Coverage(data_suffix=True)
    with measured.collect():
        shell = CaptureShell(path)
        os.chdir(path.parent)
        try:
            shell.run_all(nb, exc_stop=True, preproc=is_skipped)
        except Exception:
            sys.exit(shell.prettytb(fname=path))
        finally:
            os.chdir(ROOT)
    measured.save()


def timed(path:Path, context) -> tuple[float, int]:
    "Seconds and exit code of a notebook's process."
    began = time.perf_counter()
    process = context.Process(target=run, args=(path,))
    process.start()
    process.join()
    return time.perf_counter() - began, process.exitcode


def run_all(paths:list[Path]) -> None:
    "Each notebook in a process of its own, then the results as one file, the times, and who failed."
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    measured = Coverage()
    measured.set_option("run:parallel", True)                 # erase what an interrupted run has left, too
    measured.erase()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        os.environ["TMPDIR"] = scratch                        # what notebooks leave behind goes with it
        nothing = context.Process()                           # once it is done, all of LOADED is loaded
        nothing.start()
        nothing.join()
        results = list(pool.map(lambda path: timed(path, context), paths))
    measured.combine()
    measured.save()
    names = [path.relative_to(ROOT/"nbs").with_suffix("").as_posix() for path in paths]
    for (seconds, _), name in sorted(zip(results, names), reverse=True):
        print(f"{name}: {seconds:.0f} s")
    failed = [name for name, (_, code) in zip(names, results) if code]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def tested() -> list[Path]:
    "The notebooks that nbdev tests: all whose name and folders begin neither with `_` nor with `.`."
    found = sorted((ROOT/"nbs").rglob("*.ipynb"))
    return [p for p in found if not any(part[0] in "_." for part in p.relative_to(ROOT/"nbs").parts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="*", help="run these only")
    args = parser.parse_args()
    os.chdir(ROOT)
    run_all([path.resolve() for path in args.notebooks] or tested())


if __name__ == "__main__":
    main()

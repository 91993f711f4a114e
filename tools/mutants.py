"""Plant faults in a copy of the package, one at a time, and see whether the tests notice.

`tools/mutants.json` lists them: a file of the package, the text to replace (it must stand there exactly once), what
stands there instead, and the tests that should see it: pytest files or nodes, or a notebook, which then runs over the
package. First the tests run without any fault. A fault that they do not see has survived.

    python tools/mutants.py            all of them, about ten minutes; the checkout is not touched
    python tools/mutants.py WORD ...   those whose name or file holds one of the words
"""
import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED = ["torch", "kornia.augmentation", "torchmetrics", "rasterio", "pandas", "accelerate", "timm", "open_clip",
          "pytest", "execnb.shell", "matplotlib.pyplot"]
LIMIT = 600        # seconds; a fault that makes the tests hang is noticed, too


def planted(text:str, fault:dict) -> str:
    "The text with its fault; ValueError if the place is not there exactly once."
    places = text.count(fault["replace"])
    if places != 1:
        raise ValueError(f"stale: its place is there {places} times")
    return text.replace(fault["replace"], fault["with"])


def copy_checkout(folder:Path) -> None:
    "All tracked files as they are now."
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT/name).is_file():
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT/name, folder/name)


def check(folder:Path, tests:list[str]) -> None:
    "Run tests of the copy and end this process: with 0, or with 1 if one of them fails."
    os.setsid()                                               # so that all of it can be ended together
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    said = os.open(folder/"said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if tests[0].endswith(".ipynb"):
        code = run_notebook(folder/tests[0])
    else:
        import pytest
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
    sys.stdout.flush()
    os._exit(code)


def run_notebook(path:Path) -> int:
    "Run a notebook with imports in place of its export cells, as `make test` does; 1 if a cell fails."
    from coverage_notebooks import against_package, is_skipped
    from execnb.shell import CaptureShell
    shell = CaptureShell(path)
    os.chdir(path.parent)
    try:
        shell.run_all(against_package(path), exc_stop=True, preproc=is_skipped)
    except Exception:
        print(shell.prettytb(fname=path))
        return 1
    return 0


def outcome(folder:Path, tests:list[str], context) -> str:
    "What came of some tests, or of one notebook: 'passed', 'failed', 'too long', or 'broken', if they could not run."
    process = context.Process(target=check, args=(folder, tests))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        return "too long"
    return {0: "passed", 1: "failed"}.get(process.exitcode, "broken")


def verdict(folder:Path, fault:dict, context) -> str:
    "Plant one fault in the copy, run its tests, and mend it again."
    path = folder/"rs_zeroseg"/fault["file"]
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(planted(text, fault), encoding="utf-8")
        told = outcome(folder, fault["tests"], context)
    except ValueError as error:
        return str(error)
    finally:
        path.write_text(text, encoding="utf-8")
    return {"passed": "SURVIVED", "failed": "killed", "too long": "killed, too long"}.get(told, told)


def run_all(folder:Path, faults:list[dict], context) -> int:
    "The table, then what was not noticed; returns how many faults that were."
    copy_checkout(folder)
    names = {test for fault in faults for test in fault["tests"]}
    notebooks = sorted(name for name in names if name.endswith(".ipynb"))
    for tests in [sorted(names - set(notebooks)), *([name] for name in notebooks)]:
        if tests and outcome(folder, tests, context) != "passed":
            sys.exit((folder/"said.txt").read_text(encoding="utf-8") + "\nwithout any fault, these tests do not pass")
    missed = []
    for fault in faults:
        began = time.perf_counter()
        told = verdict(folder, fault, context)
        print(f"| {fault['name']} | {fault['file']} | {told} | {time.perf_counter() - began:.0f} s |", flush=True)
        if not told.startswith("killed"):
            missed.append(f"{told}: {fault['name']} ({fault['file']}), by {', '.join(fault['tests'])}")
    print(f"\n{len(faults) - len(missed)} of {len(faults)} faults are noticed", *missed, sep="\n")
    return len(missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose name or file holds one of these")
    words = parser.parse_args().words
    faults = json.loads((ROOT/"tools"/"mutants.json").read_text(encoding="utf-8"))
    chosen = [f for f in faults if not words or any(word in f["name"] + f["file"] for word in words)]
    # loaded once, before every fault; the package is loaded anew for each
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    with tempfile.TemporaryDirectory() as name:
        # no compiled file may outlive its source, and processes that tests start must see the copy
        os.environ |= {"PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        sys.exit(run_all(Path(name), chosen, context) > 0)


if __name__ == "__main__":
    main()

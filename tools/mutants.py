"""Plant faults in a copy of the package, one at a time, and see whether the tests notice.

`tools/mutants.json` lists them: a file of the package, the text to replace (it must stand there exactly once), what
stands there instead, and the tests that should see it: pytest files or nodes, or a notebook, which then runs over the
package. The tests run once without any fault first. A fault that they do not see is a survivor.

    python tools/mutants.py            all of them, about fifteen minutes; the checkout is not touched
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
FAULTS = ROOT/"tools"/"mutants.json"
LOADED = ["torch", "kornia.augmentation", "torchmetrics", "rasterio", "pandas", "accelerate", "timm", "open_clip",
          "pytest", "ipywidgets", "matplotlib.pyplot", "execnb.shell"]
LIMIT = 300        # seconds; a fault that makes the tests hang is noticed, too


def planted(text:str, fault:dict) -> str:
    "The text with its fault; ValueError if the place is not there exactly once."
    places = text.count(fault["replace"])
    if places != 1:
        raise ValueError(f"stale: its place is there {places} times")
    return text.replace(fault["replace"], fault["with"])


def copy_checkout(folder:Path) -> None:
    "All tracked files as they are now, without compiled ones."
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT/name).is_file():
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT/name, folder/name)


def check(folder:Path, tests:list[str]) -> None:
    "Run tests of the copy and end this process, with 1 if one of them fails; see `outcome`."
    os.setsid()                                               # so that all of it can be ended together
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    said = os.open(folder/"said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    notebooks = [name for name in tests if name.endswith(".ipynb")]
    nodes = [name for name in tests if name not in notebooks]
    code = 0
    if nodes:
        import pytest
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *nodes]))
    for name in notebooks if not code else ():
        code = max(code, run_notebook(folder/name))
    sys.stdout.flush()
    os._exit(code)


def run_notebook(path:Path) -> int:
    "Run a notebook with its export cells replaced by imports, as `make test` does; 1 if a cell fails."
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
    "What came of some tests: 'passed', 'failed', 'too long', or 'broken', where they could not run."
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


def without_fault(faults:list[dict]) -> list[list[str]]:
    "All tests, in groups of one process: pytest's together, each notebook by itself."
    names = sorted({test for fault in faults for test in fault["tests"]})
    nodes = [name for name in names if not name.endswith(".ipynb")]
    return [nodes]*bool(nodes) + [[name] for name in names if name not in nodes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose name or file holds one of these")
    words = parser.parse_args().words
    faults = [f for f in json.loads(FAULTS.read_text(encoding="utf-8"))
              if not words or any(word in f["name"] + f["file"] for word in words)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)                    # loaded once; the package is loaded anew for each fault
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        # no compiled file may outlive its source, and the tests' own processes must see the copy
        os.environ |= {"PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        for tests in without_fault(faults):
            if outcome(folder, tests, context) != "passed":
                sys.exit((folder/"said.txt").read_text(encoding="utf-8") + f"\nfails without a fault: {tests}")
        for fault in faults:
            began = time.perf_counter()
            results.append(verdict(folder, fault, context))
            seconds = time.perf_counter() - began
            print(f"| {fault['name']} | {fault['file']} | {results[-1]} | {seconds:.0f} s |", flush=True)
    killed = sum(told.startswith("killed") for told in results)
    print(f"\n{killed} of {len(faults)} faults are noticed")
    for fault, told in zip(faults, results):
        if not told.startswith("killed"):
            print(f"{told}: {fault['name']} ({fault['file']}), by {', '.join(fault['tests'])}")
    sys.exit(killed < len(faults))


if __name__ == "__main__":
    main()

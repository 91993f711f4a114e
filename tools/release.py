"""Build sdist and wheel into dist/, and try the wheel in two new environments outside the checkout (`make release`).

Plain: `import rs_zeroseg` is quick, `segment` runs, and `lab` says what to install. With the extra `lab`: `demo` runs.
Both environments are removed again, their sizes are printed. Allow some minutes and 14 GB: each holds PyTorch."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT = "from time import perf_counter as now; began = now(); import rs_zeroseg; print(now() - began)"
SCENE = "from rs_zeroseg.data.pocket import make_scene, write_scene; write_scene(make_scene(3), 'scene.tif')"


def run(*command, folder: Path, fails: bool = False) -> str:
    "Run a command in `folder`; what it printed. It must succeed, or with `fails` end with 2."
    print("$", *map(str, command), flush=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != (2 if fails else 0):
        sys.exit(f"{done.stdout}{done.stderr}\nended with {done.returncode}")
    return done.stdout + done.stderr


def build() -> Path:
    "Make both archives; the wheel's path."
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", "dist", folder=ROOT)
    wheel, = (ROOT / "dist").glob("*.whl")
    return wheel


def installed(wheel: Path, extra: str, folder: Path) -> Path:
    "The scripts' folder of a new environment that holds the wheel; prints its size."
    home = folder / (extra or "plain")
    venv.create(home, with_pip=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    run(scripts / "python", "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]" if extra else wheel, folder=folder)
    size = sum(f.lstat().st_size for f in home.rglob("*") if f.is_file() and not f.is_symlink())
    print(f"{extra or 'plain'}: {size/1e9:.2f} GB")
    return scripts


def try_plain(scripts: Path, folder: Path) -> None:
    "The import is quick, `segment` works, and `lab` and `demo` say what is missing."
    seconds = float(run(scripts / "python", "-c", IMPORT, folder=folder))
    if seconds > .2:
        sys.exit(f"`import rs_zeroseg` takes {seconds:.2f} s: something heavy is imported with it")
    run(scripts / "python", "-c", SCENE, folder=folder)
    asked = ("segment", "scene.tif", "--words", "water,tree,road", "--out", "map.tif")
    print(run(scripts / "rs_zeroseg", *asked, folder=folder))
    for command in (("lab",), ("demo", "--out", "demo")):
        told = run(scripts / "rs_zeroseg", *command, folder=folder, fails=True)
        if ".[lab]" not in told:
            sys.exit(f"{command[0]} does not say what to install: {told}")
        print(told)


def try_lab(scripts: Path, folder: Path) -> None:
    "`demo` works."
    print(run(scripts / "rs_zeroseg", "demo", "--out", "demo", folder=folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["plain", "lab"], help="try one of the two environments")
    only = parser.parse_args().only
    wheel = build()
    for extra, attempt in (("", try_plain), ("lab", try_lab)):
        if only in (None, extra or "plain"):
            with tempfile.TemporaryDirectory() as folder:
                attempt(installed(wheel, extra, Path(folder)), Path(folder))
    print(f"good: {wheel}")


if __name__ == "__main__":
    main()

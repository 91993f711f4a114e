"""Collect the wheels of the project and of all that it needs in a folder: python tools/kit_wheels.py FOLDER

`make kit` and the Dockerfile use it; it needs nothing but pip. Packages come from where your pip is configured to look.
If it offers a CPU build of torch, that one is taken, unless you say --cuda: then it is the build that pip takes by
itself, which on Linux brings CUDA and is larger by about 3 GB. To install from the folder without a network:

    pip install --no-index --find-links FOLDER "rs_zeroseg[lab,gis]"
"""
import argparse
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = "rs_zeroseg[lab,gis]"                              # what is installed; it brings everything else
SOURCES = "setup.py", "settings.ini", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"
REGISTERED = re.compile(r'^@torch\.library\.register_fake\("torchvision::\w+"\)\n', re.M)
IGNORED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.pyc")


def pip(*arguments:str|Path, wheel:Path|None = None, alone:bool = False) -> str:
    """What a pip command prints.

    With `wheel` it is the pip in this wheel, not the installed one. `alone` is without the user's configuration of pip.

    Raises
    ------
    ValueError
        If pip is missing or fails. The message has pip's own words."""
    start = [str(wheel/"pip")] if wheel else ["-m", "pip"]
    env = dict(os.environ)
    if alone:
        env = {name: value for name, value in env.items() if not name.startswith("PIP_")}
        env["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, text=True, env=env)
    if "No module named pip" in done.stderr:
        raise ValueError(f"{sys.executable} has no pip: get it with `python -m ensurepip`, and run this again")
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()[-3:]
        raise ValueError(f"pip {arguments[0]} failed: {' '.join(told)}")
    return done.stdout


def cpu_build(package:str) -> str:   # e.g. 'torch==2.13.0+cpu', or ''
    "The newest CPU build of a package among those that pip is configured to see."
    try:
        told = pip("index", "versions", package)
    except ValueError:
        return ""
    found = re.search(r"Available versions:.*?([\w.]+\+cpu)\b", told)
    return f"{package}=={found[1]}" if found else ""


def without_library(wheel:Path) -> None:
    """Take the compiled part out of a torchvision wheel. Only the CUDA build of torch can load it, and nothing uses it.

    Without it `import torchvision` stops at functions that are registered for its operators; they become plain ones."""
    part, record = wheel.with_suffix(".part"), []
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        listed = next(name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        for name in old.namelist():
            if name.endswith(".so") or name.startswith("torchvision.libs/") or name == listed:
                continue
            data = old.read(name)
            if name == "torchvision/_meta_registrations.py":
                data = REGISTERED.sub("", data.decode()).encode()
            new.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
        new.writestr(listed, "\n".join([*record, f"{listed},,"]) + "\n")
    part.replace(wheel)


def check_complete(wheels:Path, wanted:str = OWN) -> None:
    """Raise ValueError if something that `wanted` needs is not in the folder; it is not installed."""
    options = "--dry-run", "--quiet", "--no-index", "--ignore-installed", "--find-links", wheels
    pip("install", *options, wanted, wheel=next(wheels.glob("pip-*.whl"), None), alone=True)


def collect(wheels:Path, cuda:bool = False) -> str:   # which torch
    """Fill a folder with the wheels of the project and of all that it needs.

    Raises
    ------
    ValueError
        If pip cannot get something."""
    torch = "" if cuda else cpu_build("torch")
    if not (torch or cuda) and sys.platform == "linux":
        print("pip finds no CPU build of torch here: the CUDA build is taken, larger by 3 GB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)/"source"
        shutil.copytree(ROOT/"rs_zeroseg", source/"rs_zeroseg", ignore=IGNORED)
        for name in SOURCES:
            shutil.copy(ROOT/name, source/name)
        pip("wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source)
    own, = wheels.glob("rs_zeroseg-*.whl")
    needed = [f"{OWN} @ {own.resolve().as_uri()}", "pip", *filter(None, [torch])]
    pip("wheel", "--quiet", "--wheel-dir", wheels, *needed)
    vision, = wheels.glob("torchvision-*.whl")
    if torch and "+cpu" not in vision.name:
        without_library(vision)
    check_complete(wheels)
    return next(wheels.glob("torch-*.whl")).name.split("-")[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the wheels; it may not hold others")
    parser.add_argument("--cuda", action="store_true", help="the build of torch that pip takes by itself")
    args = parser.parse_args()
    try:
        print(f"{args.folder}: torch {collect(args.folder, args.cuda)}")
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()

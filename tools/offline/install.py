"""Install the RS-ZeroSeg kit: a virtual environment in this folder, from the wheels beside it, without any network."""
import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

KIT = Path(__file__).resolve().parent
HOME = KIT/".venv"
BIN = HOME/("Scripts" if os.name == "nt" else "bin")
DONE = HOME/"kit-installed"
NEEDS_GB = {"cpu": 3, "cuda": 9}


def stop(text):
    "End with an error."
    sys.exit(f"Error: {text}")


def check_machine(about):
    "Is this the platform that the kit was made for?"
    here = {"system": platform.system(), "machine": platform.machine(), "python": "{}.{}".format(*sys.version_info)}
    wrong = [name for name in here if here[name] != about[name]]
    if wrong:
        wanted, found = ("{system} {machine} with Python {python}".format(**some) for some in (about, here))
        stop(f"this kit is for {wanted}, and this is {found}. Take a kit for it, or start install.sh with "
             f"PYTHON=/path/to/python{about['python']}")


def check_files():
    "Is every file of the kit here, and whole?"
    for line in (KIT/"SHA256SUMS").read_text(encoding="utf-8").splitlines():
        wanted, name = line.split("  ", 1)
        digest = hashlib.sha256()
        try:
            with open(KIT/name, "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
        except OSError:
            stop(f"{name} is missing: unpack the archive again, or copy it again")
        if digest.hexdigest() != wanted and not name.endswith(".ipynb"):      # a notebook may have been worked in
            stop(f"{name} is damaged (its checksum differs): unpack the archive again, or copy it again")


def check_space(about):
    "Is there room for the environment?"
    needed = NEEDS_GB["cuda" if about["system"] == "Linux" and "+cpu" not in about["torch"] else "cpu"]
    free = shutil.disk_usage(KIT).free/1e9
    if free < needed and not DONE.exists():
        stop(f"{free:.1f} GB free here, and the installation needs {needed} GB; make room, or move the kit")


def run(*command):
    "A command in the kit's folder, untouched by how pip and Python are set up here. It speaks only if it fails."
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    kept.update(PIP_CONFIG_FILE=os.devnull, PYTHONNOUSERSITE="1")
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=str(KIT), env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode(errors="replace"))
        stop(f"`{' '.join(words)}` ended with {done.returncode}; what it said stands above")


def install(about):
    "Make the environment and install into it."
    wheels = KIT/"wheels"
    pip, = wheels.glob("pip-*.whl")
    venv.create(str(HOME), clear=True, with_pip=False)
    options = "install", "--quiet", "--no-index", "--find-links", wheels
    run(BIN/"python", pip/"pip", *options, "pip", about["own"])


def main():
    "Check, install, put the text encoder in its place, try it."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="make the environment anew")
    again, began = parser.parse_args().again, time.time()
    about = json.loads((KIT/"kit.json").read_text(encoding="utf-8"))
    print("1/4 checking the kit", flush=True)
    check_machine(about)
    check_files()
    check_space(about)
    print("2/4 installing the packages: some minutes", flush=True)
    if again or not DONE.exists():
        install(about)
    print("3/4 text encoder", flush=True)
    run(BIN/"python", "-m", "rs_zeroseg", "fetch", "text", "--from", KIT/"text")
    print("4/4 a first map: demo/figure.png", flush=True)
    run(BIN/"python", "-m", "rs_zeroseg", "demo", "--out", "demo")
    DONE.touch()
    start = KIT/("start.bat" if os.name == "nt" else "start.sh")
    print(f"\nInstalled in {time.time() - began:.0f} s. Start the lessons with\n  \"{start}\"")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        stop(f"{error}; is there room on the disk, and may you write in {KIT}?")
    except KeyboardInterrupt:
        stop("stopped; start it again, and the environment is made anew")

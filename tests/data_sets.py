"What the tests of the data scripts share."
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
from modules import module_at
from PIL import Image

from rs_zeroseg.data import command

ROOT = Path(__file__).parent.parent
NAMES = ["landdiscover50k", "flair", "fast", "potsdam", "floodnet", "openearthmap", "loveda", "deepglobe", "isaid"]


def script(name):
    "A script of data_scripts/, as a module."
    return module_at(ROOT / "data_scripts" / f"{name}.py")


def run_script(name, sources, out, split=None, *options):
    "The script on zip files, or on the one folder; options may stand in the place of the split."
    if split and split.startswith("--"):
        split, options = None, (split, *options)
    arguments = ["--source" if sources[0].is_dir() else "--archive", *sources, "--out", out, *options]
    if split:
        arguments += ["--split", split]
    module = script(name)
    return command.main(module.RECIPE, module.__doc__, [str(a) for a in arguments])


def unpacked(sources, folder):
    "The same as one folder, as someone who unpacked everything has it."
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
            continue
        with zipfile.ZipFile(source) as z:
            z.extractall(folder)
    return folder


def listed(out):
    "Every file of a folder, by relative path."
    return {p.relative_to(out).as_posix() for p in out.rglob("*.*")}


def written(out):
    "Name of a published pair -> its mask, put together from its tiles."
    tiles = {}
    for path in sorted((out / "masks").iterdir()):
        name, r, _ = re.fullmatch(r"(.*?)(?:_r(\d\d)c(\d\d))?", path.stem).groups()
        tiles.setdefault(name, {}).setdefault(int(r or 0), []).append(np.asarray(Image.open(path)))
    return {name: np.block([row for _, row in sorted(rows.items())]) for name, rows in tiles.items()}

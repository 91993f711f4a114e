"""What several test files need: the command line in this process and in one of its own, files made and files broken."""
import subprocess
import sys
import warnings

import pytest
import rasterio
from click.testing import CliRunner

SCRIPT = "from rs_zeroseg.use.cli import main; main(prog_name='rs_zeroseg')"


def run_here(*args):
    "The command line in this process; what came of it has `exit_code`, `stdout`, `stderr` and `output`."
    from rs_zeroseg.use.cli import main
    return CliRunner().invoke(main, [str(a) for a in args], prog_name="rs_zeroseg")


def run_process(*args, before=""):
    "The command line in a process of its own, for what only a process has; `before` is code that runs first in it."
    return subprocess.run([sys.executable, "-c", before + SCRIPT, *map(str, args)], capture_output=True, text=True)


def write_tif(path, array, **profile):
    "A (C,H,W) array as a GeoTIFF; its path."
    count, height, width = array.shape
    profile = dict(driver="GTiff", count=count, height=height, width=width, dtype=array.dtype) | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as dst:
            dst.write(array)
    return path


@pytest.fixture(scope="session")
def run():
    return run_here


@pytest.fixture(scope="session")
def script():
    return run_process


@pytest.fixture(scope="session")
def tif():
    return write_tif


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "A small data set."
    from rs_zeroseg.data.pocket import write_domain
    folder = tmp_path_factory.mktemp("drawn")/"set"
    write_domain("flair", folder, 2, size=64)
    return folder

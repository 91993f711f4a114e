"""The offline kit: nothing may be missing or damaged, and what cannot be made leaves nothing behind.

With KIT=1 (`make soak`) it is made, installed with the network cut off, and runs lesson 1 to its map."""
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import rasterio
import yaml
from modules import module_at

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tools"))
kit, kit_wheels = importlib.import_module("kit"), importlib.import_module("kit_wheels")


def write_wheel(folder, name, needs=(), **files):
    "A small wheel of a package, version 1; `files` are its modules."
    about = f"{name}-1.dist-info"
    needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    inside = {f"{name}/{file.replace('__', '.')}": text for file, text in files.items()} | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needed}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder/f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in inside.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{about}/RECORD", "".join(f"{file},,\n" for file in [*inside, f"{about}/RECORD"]))
    return path


# ---- wheels

def test_a_missing_wheel_is_told(tmp_path):
    write_wheel(tmp_path, "kit_one", needs=["kit_two"])
    with pytest.raises(ValueError, match="kit.two"):
        kit_wheels.check_complete(tmp_path, "kit_one")

    write_wheel(tmp_path, "kit_two")
    kit_wheels.check_complete(tmp_path, "kit_one")


@pytest.mark.parametrize("listed, chosen", [
    ("2.15.0, 2.13.0+cpu, 2.13.0, 2.12.0+cpu", "torch==2.13.0+cpu"),
    ("2.15.0+cu130, 2.15.0", ""),
])
def test_the_newest_cpu_build_is_taken_if_there_is_one(monkeypatch, listed, chosen):
    monkeypatch.setattr(kit_wheels, "pip", lambda *_: f"torch (2.15.0)\nAvailable versions: {listed}\n")
    assert kit_wheels.cpu_build("torch") == chosen


def test_a_pip_that_fails_is_quoted():
    with pytest.raises(ValueError, match="pip download failed: .*no-such-package"):
        kit_wheels.pip("download", "--no-index", "no-such-package-of-the-kit")


def test_torchvision_without_its_library_is_still_a_wheel(tmp_path):
    source = '@torch.library.register_fake("torchvision::nms")\ndef meta_nms():\n    return 1\n'
    wheel = write_wheel(tmp_path, "torchvision", _C__so="binary", _meta_registrations__py=source)

    kit_wheels.without_library(wheel)

    with zipfile.ZipFile(wheel) as made:
        assert "torchvision/_C.so" not in made.namelist()
        assert made.read("torchvision/_meta_registrations.py") == b"def meta_nms():\n    return 1\n"
        record = made.read("torchvision-1.dist-info/RECORD").decode().splitlines()
        assert sorted(line.split(",")[0] for line in record) == sorted(made.namelist())
    kit_wheels.pip("install", "--quiet", "--no-index", "--no-deps", "--target", tmp_path/"here", wheel, alone=True)


# ---- the other parts, and the archive

@pytest.fixture
def parts(tmp_path, monkeypatch):
    "`kit` with small parts instead of wheels, text encoder, browser page and documentation."
    def collect(wheels, cuda):
        wheels.mkdir()
        (wheels/"torch-1-py3-none-any.whl").write_bytes(b"wheel")
        return "1+cpu"

    text = tmp_path/"encoder"
    text.mkdir()
    for name in kit.TEXT_FILES:
        (text/name).write_bytes(b"text")
    monkeypatch.setattr(kit, "collect", collect)
    monkeypatch.setattr(kit, "cpu_build", lambda package: f"{package}==1+cpu")
    monkeypatch.setattr(kit, "fetch_text", lambda: text)
    monkeypatch.setattr(kit, "add_site", lambda folder: None)
    return monkeypatch


@pytest.fixture
def unpacked(parts, tmp_path):
    "A small kit, made and unpacked."
    with tarfile.open(kit.make(tmp_path/"out")) as tar:
        tar.extractall(tmp_path)
    return tmp_path/kit.NAME


def test_the_kit_holds_what_a_room_needs(unpacked, tmp_path):
    lessons = sorted(path.name for path in (ROOT/"nbs"/"workshop"/"_participant").glob("*.ipynb"))
    assert sorted(path.name for path in (unpacked/"nbs"/"workshop"/"_participant").iterdir()) == lessons
    assert sorted(path.name for path in (unpacked/"text").iterdir()) == sorted(kit.TEXT_FILES)
    town = unpacked/"samples"/"town.tif"
    with rasterio.open(town) as image, rasterio.open(town.with_name("town_mask.tif")) as mask:
        assert image.crs == mask.crs and image.shape == mask.shape == (512, 512)
    assert (unpacked/"samples"/"flair"/"labels.json").is_file()
    assert os.access(unpacked/"install.sh", os.X_OK) and os.access(unpacked/"start.sh", os.X_OK)
    texts = [path.read_text(encoding="utf-8") for path in unpacked.glob("*.*") if path.suffix in (".sh", ".bat", ".py")]
    assert len(texts) == 5 and not any("@PYTHON@" in text for text in texts)
    archive, = (tmp_path/"out").glob("*.tar")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert archive.with_name(archive.name + ".sha256").read_text() == f"{digest}  {archive.name}\n"


def test_every_file_has_its_checksum(unpacked):
    lines = (unpacked/"SHA256SUMS").read_text(encoding="utf-8").splitlines()
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {line.split("  ", 1)[1] for line in lines} == files - {"SHA256SUMS"}
    module_at(unpacked/"install.py").check_files()


def test_a_damaged_file_and_a_missing_one_are_told(unpacked):
    tool, wheel = module_at(unpacked/"install.py"), unpacked/"wheels"/"torch-1-py3-none-any.whl"
    wheel.write_bytes(b"whell")
    with pytest.raises(SystemExit, match="torch-1-py3-none-any.whl is damaged"):
        tool.check_files()
    wheel.unlink()
    with pytest.raises(SystemExit, match="torch-1-py3-none-any.whl is missing"):
        tool.check_files()


def test_a_notebook_that_somebody_worked_in_is_no_damage(unpacked):
    next((unpacked/"nbs"/"workshop"/"_participant").iterdir()).write_text("{}")
    module_at(unpacked/"install.py").check_files()


def test_another_platform_is_told(unpacked):
    about = json.loads((unpacked/"kit.json").read_text())
    tool = module_at(unpacked/"install.py")
    tool.check_machine(about)
    with pytest.raises(SystemExit, match="for Linux riscv64 with Python 3.1, and this is"):
        tool.check_machine(about | {"system": "Linux", "machine": "riscv64", "python": "3.1"})


def test_a_full_disk_is_told_before_anything_is_fetched(parts, tmp_path):
    parts.setattr(kit.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**8))
    with pytest.raises(ValueError, match="0.1 GB free, and the kit needs 3 GB"):
        kit.make(tmp_path/"out")
    with pytest.raises(ValueError, match="0.1 GB free, and the kit needs 12 GB"):
        kit.make(tmp_path/"out", cuda=True)
    assert list((tmp_path/"out").iterdir()) == []


def test_a_kit_that_cannot_be_made_leaves_the_old_one_and_nothing_else(parts, tmp_path):
    kit.make(tmp_path/"out")
    before = {path.name: path.read_bytes() for path in (tmp_path/"out").iterdir()}

    def fails(folder):
        (folder/"half").write_bytes(b"half")
        raise ValueError("no network")
    parts.setattr(kit, "add_parts", fails)
    with pytest.raises(ValueError, match="no network"):
        kit.make(tmp_path/"out")

    assert {path.name: path.read_bytes() for path in (tmp_path/"out").iterdir()} == before


# ---- containers and hosted notebooks

def test_what_the_dockerfile_copies_is_there():
    lines = (ROOT/"Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    names = [name for words in copied for name in words if not name.startswith("--")]
    assert "nbs" in names and [name for name in names if not (ROOT/name).exists()] == []


def test_configurations_can_be_read():
    container = json.loads((ROOT/".devcontainer"/"devcontainer.json").read_text(encoding="utf-8"))
    assert (ROOT/".devcontainer"/container["build"]["dockerfile"]).resolve() == ROOT/"Dockerfile"
    binder = yaml.safe_load((ROOT/"binder"/"environment.yml").read_text(encoding="utf-8"))
    required = (ROOT/"settings.ini").read_text(encoding="utf-8").split()
    assert [line.replace("pytorch-cpu", "torch") in required for line in binder["dependencies"][1:3]] == [True, True]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("name", ["tools/offline/install.sh", "tools/offline/start.sh", "binder/postBuild"])
def test_shell_scripts_are_well_formed(name):
    subprocess.run(["bash", "-n", ROOT/name], check=True)
    assert os.access(ROOT/name, os.X_OK)


# ---- the whole

CUT_OFF = """
import fcntl, os, socket, struct, sys
with socket.socket() as lo:                     # the computer may still talk to itself, as notebook and kernel do
    fcntl.ioctl(lo, 0x8914, struct.pack("16sh", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def cut_off(command, folder):
    "Run a command without a network, and without what this test's Python and pip are told."
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    told = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    apart = ["unshare", "--net", "--map-root-user", sys.executable, "-c", CUT_OFF]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"]).returncode:
        apart = []                                       # not Linux, or not allowed: proxies that lead nowhere
    environment = told | nowhere | {"RS_ZEROSEG_CACHE": str(folder/"cache"), "PYTHON": sys.executable}
    done = subprocess.run([*apart, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif("KIT" not in os.environ, reason="needs the network, minutes and 7 GB: KIT=1, or `make soak`")
def test_the_kit_runs_lesson_1_to_its_map_without_a_network(tmp_path):
    archive = kit.make(tmp_path/"out")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path)
    folder = tmp_path/kit.NAME

    print(archive.stat().st_size//10**6, "MB", cut_off([folder/"install.sh"], tmp_path))
    lesson = folder/"nbs"/"workshop"/"01_words_and_pixels.ipynb"
    convert = ["-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", "--output-dir", tmp_path/"ran"]
    cut_off([folder/".venv"/"bin"/"python", *convert, lesson], tmp_path)

    cells = json.loads((tmp_path/"ran"/lesson.name).read_text(encoding="utf-8"))["cells"]
    drawn = next(cell for cell in cells if "your map, threshold" in "".join(cell["source"]))
    assert any("image/png" in output.get("data", {}) for output in drawn["outputs"])

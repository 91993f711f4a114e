"Bad input ends with one line, exit code 2 and no file; odd input works and is told; broken files never crash."
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.model import checkpoint
from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.training import resume

# run before a command in a process of its own: no file may grow beyond 400 bytes
SMALL_FILES = ("import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
               "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); ")
NO_GEOREFERENCE = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def cut(path, source, share=.5):
    "The first part of a file."
    whole = source.read_bytes()
    path.write_bytes(whole[:int(len(whole) * share)])


def names(folder):
    "Everything in a folder, by relative path."
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


# ---- inputs

def make_pictures(w, tif):
    "Images of every kind: good, cut short, of odd bands, types and georeference."
    image = make_scene(3, size=64).image.transpose(2, 0, 1)                                   # (3,64,64) uint8
    write_scene(make_scene(3, size=64), w/"in.tif")
    (w/"text.tif").write_text("hello")
    (w/"void.tif").write_bytes(b"")
    cut(w/"cut.tif", w/"in.tif")
    for n in (1, 2):
        tif(w/f"bands{n}.tif", image[:n])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("png", "jpg"):
        Image.fromarray(noise).save(w/f"noise.{kind}")
        cut(w/f"cut.{kind}", w/f"noise.{kind}")
    tif(w/"complex.tif", image.astype(np.complex64))
    # numbers that are not bytes
    values = image.astype(np.float32) / 255
    holes = values.copy()
    holes[:, :16] = np.nan
    marked = np.maximum(image, 1)
    marked[:, :16] = 0
    tif(w/"16 bit.tif", image.astype(np.uint16) * 37)
    tif(w/"float.tif", values)
    tif(w/"large.tif", values.astype(np.float64) * 1e200)
    tif(w/"nan.tif", holes)
    tif(w/"nodata.tif", marked, nodata=0)
    # places
    tif(w/"one.tif", image[:, :1, :1])
    tif(w/"no crs.tif", image)
    turned = rasterio.Affine.rotation(30) @ rasterio.Affine.scale(.5, -.5)
    tif(w/"rotated.tif", image, crs="EPSG:32631", transform=turned)


def make_checkpoints(w):
    "A checkpoint and its broken copies."
    torch.manual_seed(0)
    model = build(PRESETS["pocket"])
    save(model, w/"model")
    for name in ("shape", "short", "pickle", "renamed", "list"):
        shutil.copytree(w/"model", w/name)
    config = json.loads((w/"model"/"config.json").read_text())
    (w/"shape"/"config.json").write_text(json.dumps(config | {"dim": 64}))
    (w/"list"/"config.json").write_text("[]")
    cut(w/"short"/"model.safetensors", w/"model"/"model.safetensors")
    torch.save(model.state_dict(), w/"model.pt")
    (w/"pickle"/"model.safetensors").unlink()
    shutil.copy(w/"model.pt", w/"pickle"/"pytorch_model.bin")
    shutil.copy(w/"model.pt", w/"renamed"/"model.safetensors")


def make_data_sets(w, tif):
    "A data set and its broken copies."
    write_domain("flair", w/"set", 1, size=64)
    for name in ("size", "code", "half", "odd", "few"):
        shutil.copytree(w/"set", w/name)
    mask = next((w/"set"/"masks").iterdir())
    with rasterio.open(mask) as src:
        codes = src.read()
    tif(w/"size"/"masks"/mask.name, codes[:, :50])
    codes[0, 0, 0] = 99
    tif(w/"code"/"masks"/mask.name, codes)
    cut(w/"half"/"masks"/mask.name, mask)
    (w/"odd"/"labels.json").write_text("[]")
    (w/"few"/"labels.json").write_text('{"name": "few", "categories": [{"value": 77, "name": "road"}]}')


@pytest.fixture(scope="module")
def work(tmp_path_factory, tif):
    "Inputs of every kind."
    w = tmp_path_factory.mktemp("bad")
    make_pictures(w, tif)
    make_checkpoints(w)
    make_data_sets(w, tif)
    (w/"a file").write_text("")
    (w/"taken.tif").mkdir()
    (w/"empty").mkdir()
    for part in ("vlm", "rsi"):
        (w/"half a run"/part/"step-000200").mkdir(parents=True)
        (w/"half a run"/part/"step-000200"/"model.safetensors").touch()
    return w


# ---- what is refused

def segment(image, words="road,tree", out="no.tif", model="model"):
    def args(w):
        where = w/model if (w/model).exists() else model
        return "segment", w/image, "--words", words, "--out", w/out, "--checkpoint", where, "--json"
    return args


def evaluate(folder, *more, model="model"):
    def args(w):
        pairs = ("--images", w/folder/"images", "--masks", w/folder/"masks", "--labels", w/folder/"labels.json")
        return "evaluate", *pairs, "--checkpoint", w/model, "--json", *more
    return args


def without_encoders(w):
    return "train", "--out", w/"no.tif", "--encoders", w/"set"


def half_encoders(w):
    return "train", "--out", w/"no.tif", "--encoders", w/"half a run"


def without_labels(w):
    folder = ("--images", w/"set"/"images", "--masks", w/"set"/"masks", "--labels", w/"none.json")
    return "evaluate", *folder, "--checkpoint", w/"model"


BAD = {   # case: (arguments, what the line must say)
    "no image": (segment("nowhere.tif"), "nowhere.tif: no such file"),
    "not an image": (segment("text.tif"), "text.tif: not an image that can be read"),
    "empty file": (segment("void.tif"), "void.tif: not an image that can be read"),
    "truncated TIFF": (segment("cut.tif"), "cut.tif: damaged or cut short"),
    "truncated PNG": (segment("cut.png"), "cut.png: damaged or cut short"),
    "truncated JPEG": (segment("cut.jpg"), "cut.jpg: damaged or cut short"),
    "one band": (segment("bands1.tif"), "bands1.tif: 1 band(s)"),
    "two bands": (segment("bands2.tif"), "bands2.tif: 2 band(s)"),
    "complex numbers": (segment("complex.tif"), "complex.tif: complex numbers"),
    "empty word list": (segment("in.tif", " , "), "at least one word"),
    "duplicate words": (segment("in.tif", "road,tree,Road"), "'road' is given twice"),
    "word with a control character": (segment("in.tif", "ro\x07ad"), "no text"),
    "no folder for the output": (segment("in.tif", out="none/no.tif"), "no such folder"),
    "output in a file": (segment("in.tif", out="a file/no.tif"), "a file: no such folder"),
    "output is a folder": (segment("in.tif", out="taken.tif"), "taken.tif: a folder has that name"),
    "output name too long": (segment("in.tif", out="no.tif" * 60 + ".tif"), "File name too long"),
    "no such checkpoint": (segment("in.tif", model="pokcet"), "pokcet: no such preset"),
    "empty checkpoint": (segment("in.tif", model="empty"), "config.json is missing"),
    "checkpoint of another shape": (segment("in.tif", model="shape"),
                                    "shape: the weights do not fit config.json (size mismatch for"),
    "truncated checkpoint": (segment("in.tif", model="short"), "short: damaged checkpoint"),
    "checkpoint with an odd config.json": (segment("in.tif", model="list"), "config.json: not of this version"),
    "pickle checkpoint": (segment("in.tif", model="model.pt"), "model.pt: a pickle"),
    "folder with a pickle": (segment("in.tif", model="pickle"), "pytorch_model.bin: a pickle"),
    "renamed pickle": (evaluate("set", model="renamed"), "model.safetensors: a pickle"),
    "a file for a checkpoint": (segment("in.tif", model="in.tif"), "in.tif: a file; give the folder"),
    "no labels": (without_labels, "none.json: no such file"),
    "no such set": (evaluate("nowhere"), "nowhere: no such folder; give one that a script of data_scripts/ has made"),
    "odd labels": (evaluate("odd"), "labels.json"),
    "a code that is not listed": (evaluate("few"), "is not in the labels of few"),
    "masks of another size": (evaluate("size"), "(50, 64) pixels, but its image"),
    "unknown label codes": (evaluate("code"), "mask value 99 is not in the labels of"),
    "truncated mask": (evaluate("half"), "damaged or cut short"),
    "evaluate: empty word list": (evaluate("set", "--words", ","), "at least one word"),
    "evaluate: duplicate words": (evaluate("set", "--words", "a,a"), "'a' is given twice"),
    "train: no encoders": (without_encoders, "no finished pretraining"),
    "train: half a pretraining": (half_encoders, "no finished pretraining"),
    "evaluate: an option for a folder": (lambda w: ("evaluate", "--pocket", "--threshold", ".5"),
                                         "--threshold is for a folder"),
    "evaluate: an option for scenes": (evaluate("set", "--seed", "1"), "--seed is for --pocket"),
    "evaluate: two folders": (lambda w: ("evaluate", "--data", w/"set", "--masks", w/"set"/"masks"), "not both"),
    "budget: no preset": (lambda w: ("budget", "--preset", "huge"), "huge"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_code_2_and_no_file(work, run, case):
    args, says = BAD[case]
    before = names(work)

    done = run(*args(work))

    assert done.exit_code == 2 and says in done.output, done.output
    assert done.output.startswith("Error: ") and done.output.count("\n") == 1
    assert names(work) == before


# ---- what works, and says what was done

ODD = {   # case: (image, words, what must be said)
    "16 bit": ("16 bit.tif", "road", "Note: {}: uint16 values are stretched from their 2nd to their 98th percentile: "),
    "float": ("float.tif", "road", "Note: {}: float32 values are stretched"),
    "huge float64": ("large.tif", "road", "Note: {}: float64 values are stretched"),
    "NaN": ("nan.tif", "road", "25.0 % without data"),
    "nodata": ("nodata.tif", "road", "25.0 % without data"),
    "no CRS": ("no crs.tif", "road", "64 x 64 px, no CRS"),
    "rotated": ("rotated.tif", "road", "EPSG:32631, rotated"),
    "another script": ("in.tif", "дорога,树,شارع", "unseen"),
    "5000 words": ("in.tif", ",".join(f"word {i}" for i in range(5000)), "word 4999"),
    "1 x 1": ("one.tif", "road", "1 x 1 px"),
}


@NO_GEOREFERENCE
@pytest.mark.parametrize("case", ODD)
def test_odd_input_works_and_is_told(work, run, case, tmp_path):
    image, words, says = ODD[case]

    done = run("segment", work/image, "--words", words, "--out", tmp_path/"map.tif", "--threshold", 0,
               "--checkpoint", work/"model")

    assert done.exit_code == 0 and says.format(work/image) in done.output, done.output[-500:]
    with rasterio.open(work/image) as src, rasterio.open(tmp_path/"map.tif") as dst:
        coded = dst.read(1)
        assert (dst.shape, dst.crs, dst.transform) == (src.shape, src.crs, src.transform)
    rows = np.arange(len(coded))[:, None] < 16 if case in ("NaN", "nodata") else False
    np.testing.assert_array_equal(coded == dst.nodata, np.broadcast_to(rows, coded.shape))


# ---- disks

@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_disk_that_fills_up_leaves_nothing(work, script, tmp_path):
    "A real write fails: the map is longer than the 400 bytes that a file may have there, and GDAL tells nobody."
    args = ("segment", work/"in.tif", "--words", "road,tree", "--out", tmp_path/"map.tif", "--checkpoint", work/"model")

    done = script(*args, before=SMALL_FILES)

    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "map.tif: could not be written" in done.stderr.splitlines()[-1]
    assert names(tmp_path) == []


@pytest.fixture
def full():
    "A function that fails as a write to a full disk does."
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")
    return fail


def test_no_space_for_a_map(work, run, full, monkeypatch):
    monkeypatch.setattr(os, "replace", full)
    before = names(work)

    done = run(*segment("in.tif")(work))

    assert done.exit_code == 2
    assert done.output == (f"Error: {work/'no.tif'}: could not be written (No space left on device); "
                           "make room, or choose another folder\n")
    assert names(work) == before


def test_no_space_for_a_checkpoint(work, full, monkeypatch, tmp_path):
    model = load(work/"model")
    monkeypatch.setattr(checkpoint, "save_file", full)

    with pytest.raises(OSError, match="new: could not be written"):
        save(model, tmp_path/"new")

    assert names(tmp_path) == []


def test_no_space_for_a_step_of_a_training(full, monkeypatch, tmp_path):
    net = torch.nn.Linear(2, 2)
    optimiser = torch.optim.SGD(net.parameters(), .1)
    monkeypatch.setattr(resume, "save_file", full)

    with pytest.raises(OSError, match="step-000003: could not be written"):
        resume.save_checkpoint(tmp_path, net, optimiser, 3, {})

    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write all")
def test_read_only_folder(work, run, tmp_path):
    tmp_path.chmod(0o555)

    done = run("segment", work/"in.tif", "--words", "road", "--out", tmp_path/"map.tif", "--checkpoint", work/"model")
    tmp_path.chmod(0o755)

    assert done.exit_code == 2 and "could not be written (Permission denied)" in done.output
    assert names(tmp_path) == []


# ---- 300 broken files

def encoded(array, kind):
    "The bytes of an (H,W,C) uint8 array as a picture."
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, kind)
    return file.getvalue()


def odd_raster(rng, path, height, width, tif):
    "A GeoTIFF of an odd shape, type and number of bands."
    types = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64", "complex64"]
    dtype = rng.choice(types)
    array = rng.normal(size=(int(rng.integers(1, 6)), height, width)) * 10.**rng.integers(0, 5)
    array = array.astype(np.float32)
    if dtype.startswith("float"):
        array[rng.random(array.shape) < .2] = rng.choice([np.nan, np.inf])
    with np.errstate(invalid="ignore"):
        return tif(path, array.astype(dtype))


def fuzzed(rng, folder, n, tif):
    "File number n: noise, a cut or bit-flipped picture, or an odd GeoTIFF; suffix at random."
    how = n % 5
    height, width = rng.integers(1, 25, 2)
    path = folder/f"{n}.{rng.choice(['tif', 'png', 'jpg', 'txt'])}"
    if how == 0:
        path.write_bytes(rng.bytes(int(rng.choice([0, 1, 7, 300]))))
        return path
    if how == 1:
        return odd_raster(rng, path, height, width, tif)
    array = rng.integers(0, 256, (height, width, int(rng.choice([1, 3, 3, 3, 4]))), dtype=np.uint8)
    kinds = ["TIFF", "PNG"] if array.shape[2] == 4 else ["TIFF", "PNG", "JPEG"]
    data = bytearray(encoded(array, rng.choice(kinds)))
    if how == 2:
        data = data[:int(rng.integers(len(data)))]
    else:
        for k in rng.integers(0, len(data) if how == 3 else min(200, len(data)), 4):
            data[k] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return path


@NO_GEOREFERENCE
def test_300_broken_files_and_never_a_traceback(work, run, tif, tmp_path, monkeypatch):
    model = load(work/"model")
    monkeypatch.setattr(checkpoint, "load", lambda *asked: model)
    rng, codes = np.random.default_rng(0), []

    for n in range(300):
        path = fuzzed(rng, tmp_path, n, tif)
        done = run("segment", path, "--words", "road,tree", "--out", tmp_path/"map.tif", "--json")
        lines = [line for line in done.output.splitlines() if not line.startswith("Note: ")]
        made = {"map.qml", "map.tif", "map.tif.aux.xml"} if done.exit_code == 0 else set()
        assert done.exit_code in (0, 2) and len(lines) == 1, (n, path, done.exit_code, done.output, done.exception)
        if done.exit_code == 2:
            assert lines[0].startswith("Error: ") and path.name in lines[0], (n, lines)
        assert {p.name for p in tmp_path.iterdir()} - {path.name} == made, n
        for p in tmp_path.iterdir():
            p.unlink()
        codes.append(done.exit_code)

    assert 40 < codes.count(0) < 260, "the fuzz meets both files that work and files that do not"

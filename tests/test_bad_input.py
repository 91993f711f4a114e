"Bad input ends with one line, exit code 2 and no file; odd input works and says what was done; 300 broken files never give a traceback."
import io
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from PIL import Image

from rs_zeroseg.model import checkpoint
from rs_zeroseg.training import loop as train
from rs_zeroseg.model.checkpoint import build, load, save
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.use.cli import main
from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene

SCRIPT = "from rs_zeroseg.use.cli import main; main(prog_name='rs_zeroseg')"
SMALL_FILES = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); "
NO_GEOREFERENCE = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def run(*args): return CliRunner().invoke(main, [str(a) for a in args], prog_name="rs_zeroseg")


def tif(path, array, **profile):
    "A (C,H,W) array as a GeoTIFF."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        C, H, W = array.shape
        with rasterio.open(path, "w", driver="GTiff", count=C, height=H, width=W, dtype=array.dtype, **profile) as dst: dst.write(array)
    return path


def cut(path, source, share=.5):
    "The first part of a file."
    whole = source.read_bytes(); path.write_bytes(whole[:int(len(whole) * share)])
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "Inputs of every kind, a checkpoint and its broken copies, a data set and its broken copies."
    w = tmp_path_factory.mktemp("bad"); torch.manual_seed(0)
    image = make_scene(3, size=64).image.transpose(2, 0, 1)                                   # (3,64,64) uint8
    write_scene(make_scene(3, size=64), w/"in.tif"); (w/"text.tif").write_text("hello"); (w/"void.tif").write_bytes(b"")
    cut(w/"cut.tif", w/"in.tif"); (w/"a file").write_text(""); (w/"taken.tif").mkdir()
    for n in (1, 2): tif(w/f"bands{n}.tif", image[:n])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("png", "jpg"): Image.fromarray(noise).save(w/f"noise.{kind}"); cut(w/f"cut.{kind}", w/f"noise.{kind}")
    tif(w/"complex.tif", image.astype(np.complex64))
    model = build(PRESETS["pocket"]); save(model, w/"model")
    for name in ("shape", "short", "pickle", "renamed", "list"): shutil.copytree(w/"model", w/name)
    config = json.loads((w/"model"/"config.json").read_text())
    (w/"shape"/"config.json").write_text(json.dumps(config | {"dim": 64})); (w/"list"/"config.json").write_text("[]")
    cut(w/"short"/"model.safetensors", w/"model"/"model.safetensors")
    torch.save(model.state_dict(), w/"model.pt"); (w/"pickle"/"model.safetensors").unlink()
    shutil.copy(w/"model.pt", w/"pickle"/"pytorch_model.bin"); shutil.copy(w/"model.pt", w/"renamed"/"model.safetensors")
    write_domain("flair", w/"set", 1, size=64)
    for name in ("size", "code", "half"): shutil.copytree(w/"set", w/name)
    mask = next((w/"set"/"masks").iterdir())
    with rasterio.open(mask) as src: codes = src.read()
    tif(w/"size"/"masks"/mask.name, codes[:, :50]); codes[0, 0, 0] = 99; tif(w/"code"/"masks"/mask.name, codes)
    cut(w/"half"/"masks"/mask.name, mask)
    values = image.astype(np.float32) / 255; holes = values.copy(); holes[:, :16] = np.nan
    tif(w/"16 bit.tif", image.astype(np.uint16) * 37); tif(w/"float.tif", values); tif(w/"nan.tif", holes); tif(w/"one.tif", image[:, :1, :1])
    tif(w/"large.tif", values.astype(np.float64) * 1e200)
    marked = np.maximum(image, 1); marked[:, :16] = 0; tif(w/"nodata.tif", marked, nodata=0); tif(w/"no crs.tif", image)
    tif(w/"rotated.tif", image, crs="EPSG:32631", transform=rasterio.Affine.rotation(30) @ rasterio.Affine.scale(.5, -.5))
    return w


def segment(image, words="road,tree", out="no.tif", model="model"):
    return lambda w: ("segment", w/image, "--words", words, "--out", w/out, "--checkpoint", w/model, "--json")


def evaluate(folder, *more, model="model"):
    return lambda w: ("evaluate", "--images", w/folder/"images", "--masks", w/folder/"masks", "--labels", w/folder/"labels.json", "--checkpoint", w/model, "--json", *more)


BAD = {   # case: (arguments, what the line must say)
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
    "output in a file": (segment("in.tif", out="a file/no.tif"), "a file: no such folder"),
    "output is a folder": (segment("in.tif", out="taken.tif"), "taken.tif: a folder has that name"),
    "output name too long": (segment("in.tif", out="no.tif" * 60 + ".tif"), "File name too long"),
    "checkpoint of another shape": (segment("in.tif", model="shape"), "shape: the weights do not fit config.json (size mismatch for"),
    "truncated checkpoint": (segment("in.tif", model="short"), "short: damaged checkpoint"),
    "checkpoint with an odd config.json": (segment("in.tif", model="list"), "config.json: not of this version"),
    "pickle checkpoint": (segment("in.tif", model="model.pt"), "model.pt: a pickle"),
    "folder with a pickle": (segment("in.tif", model="pickle"), "pytorch_model.bin: a pickle"),
    "renamed pickle": (evaluate("set", model="renamed"), "model.safetensors: a pickle"),
    "a file for a checkpoint": (segment("in.tif", model="in.tif"), "in.tif: a file; give the folder"),
    "masks of another size": (evaluate("size"), "(50, 64) pixels, but its image"),
    "unknown label codes": (evaluate("code"), "mask value 99 is not in the labels of"),
    "truncated mask": (evaluate("half"), "damaged or cut short"),
    "evaluate: empty word list": (evaluate("set", "--words", ","), "at least one word"),
    "evaluate: duplicate words": (evaluate("set", "--words", "a,a"), "'a' is given twice"),
    "train: no encoders": (lambda w: ("train", "--out", w/"no.tif", "--encoders", w/"set"), "no finished pretraining"),
}


def names(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_code_2_and_no_file(work, case):
    args, says = BAD[case]; before = names(work)
    done = run(*args(work))
    assert done.exit_code == 2 and done.output.startswith("Error: ") and done.output.count("\n") == 1 and says in done.output, done.output
    assert names(work) == before


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
def test_odd_input_works_and_is_told(work, case, tmp_path):
    image, words, says = ODD[case]
    done = run("segment", work/image, "--words", words, "--out", tmp_path/"map.tif", "--threshold", 0, "--checkpoint", work/"model")
    assert done.exit_code == 0 and says.format(work/image) in done.output, done.output[-500:]
    with rasterio.open(work/image) as src, rasterio.open(tmp_path/"map.tif") as dst:
        coded = dst.read(1); assert (dst.shape, dst.crs, dst.transform) == (src.shape, src.crs, src.transform)
    rows = np.arange(len(coded))[:, None] < 16 if case in ("NaN", "nodata") else False
    np.testing.assert_array_equal(coded == dst.nodata, np.broadcast_to(rows, coded.shape))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_disk_that_fills_up_leaves_nothing(work, tmp_path):
    "A real write fails: the map is longer than the 400 bytes that the process may write to a file, and GDAL tells nobody."
    args = segment("in.tif")(work); args = [*args[:5], tmp_path/"map.tif", *args[6:]]
    done = subprocess.run([sys.executable, "-c", SMALL_FILES + SCRIPT, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 2 and "map.tif: could not be written" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr, done.stderr
    assert names(tmp_path) == []


def test_no_space_for_map_or_checkpoint(work, tmp_path, monkeypatch):
    def full(*args, **kwargs): raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "replace", full); before = names(work)
    done = run(*segment("in.tif")(work))
    assert (done.exit_code, done.output) == (2, f"Error: {work/'no.tif'}: could not be written (No space left on device); make room, or choose another folder\n")
    assert names(work) == before
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="new: could not be written"): save(load(work/"model"), tmp_path/"new")
    assert names(tmp_path) == []
    monkeypatch.setattr(train, "save_file", full); net = torch.nn.Linear(2, 2)
    with pytest.raises(OSError, match="step-000003: could not be written"): train.save_checkpoint(tmp_path, net, torch.optim.SGD(net.parameters(), .1), 3, {})
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_read_only_folder(work, tmp_path):
    tmp_path.chmod(0o555)
    done = run("segment", work/"in.tif", "--words", "road", "--out", tmp_path/"map.tif", "--checkpoint", work/"model", "--json")
    tmp_path.chmod(0o755)
    assert done.exit_code == 2 and "could not be written (Permission denied)" in done.output and names(tmp_path) == []


def encoded(array, kind):
    "The bytes of an (H,W,C) uint8 array as a picture."
    file = io.BytesIO(); Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, kind)
    return file.getvalue()


def fuzzed(rng, folder, n):
    "File number n: noise, a cut or bit-flipped picture, or a GeoTIFF of an odd shape, type and number of bands; suffix at random."
    how, (height, width) = n % 5, rng.integers(1, 25, 2)
    path = folder/f"{n}.{rng.choice(['tif', 'png', 'jpg', 'txt'])}"
    if how == 0:
        path.write_bytes(rng.bytes(int(rng.choice([0, 1, 7, 300])))); return path
    if how == 1:
        dtype = rng.choice(["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64", "complex64"])
        array = (rng.normal(size=(int(rng.integers(1, 6)), height, width)) * 10.**rng.integers(0, 5)).astype(np.float32)
        if dtype.startswith("float"): array[rng.random(array.shape) < .2] = rng.choice([np.nan, np.inf])
        with np.errstate(invalid="ignore"): return tif(path, array.astype(dtype))
    array = rng.integers(0, 256, (height, width, int(rng.choice([1, 3, 3, 3, 4]))), dtype=np.uint8)
    data = bytearray(encoded(array, rng.choice(["TIFF", "PNG"] if array.shape[2] == 4 else ["TIFF", "PNG", "JPEG"])))
    if how == 2: data = data[:int(rng.integers(len(data)))]
    else:
        for k in rng.integers(0, len(data) if how == 3 else min(200, len(data)), 4): data[k] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return path


@NO_GEOREFERENCE
def test_300_broken_files_and_never_a_traceback(work, tmp_path, monkeypatch):
    model = load(work/"model"); monkeypatch.setattr(checkpoint, "load", lambda *asked: model)
    rng, codes = np.random.default_rng(0), []
    for n in range(300):
        path = fuzzed(rng, tmp_path, n)
        done = run("segment", path, "--words", "road,tree", "--out", tmp_path/"map.tif", "--json")
        lines = [line for line in done.output.splitlines() if not line.startswith("Note: ")]
        assert done.exit_code in (0, 2) and len(lines) == 1, (n, path, done.exit_code, done.output, done.exception)
        made = {"map.tif", "map.tif.aux.xml"} if done.exit_code == 0 else set()
        if done.exit_code == 2: assert lines[0].startswith("Error: ") and path.name in lines[0], (n, lines)
        assert {p.name for p in tmp_path.iterdir()} - {path.name} == made, n
        for p in tmp_path.iterdir(): p.unlink()
        codes.append(done.exit_code)
    assert 40 < codes.count(0) < 260, "the fuzz meets both files that work and files that do not"

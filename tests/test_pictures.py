"data_scripts/pictures.py: on miniatures of the public archives."
import json
import zipfile

import numpy as np
import pytest
from data_sets import script
from PIL import Image

from rs_zeroseg.data.recipes import image_file

pictures = script("pictures")
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 17, 4), dtype=np.uint8)
SCENES = ("airplane", "storagetanks", "tenniscourt", "harbor")
HELD_OUT = {f"{scene}_{n}" for scene in SCENES[:3] for n in (80, 89)} | {"storagetanks_78", "storagetanks_79"}


def paths(name):
    "Path in the archive -> bands."
    if name == "uc_merced":
        return {f"UCMerced_LandUse/Images/{scene}/{scene}{n:02d}.tif": 3
                for scene in SCENES for n in (7, 77, 78, 79, 80, 89, 90)}
    if name == "urban_trees":
        return {f"urban-tree-detection-data-78e81bd/images/{place}.tif": 4
                for place in ("chico_2020_0", "long_beach_2016_12")}
    return {f"EuroSAT_RGB/{scene}/{scene}_{n}.jpg": 3 for scene in ("AnnualCrop", "River") for n in (1, 20)}


@pytest.fixture(params=["uc_merced", "urban_trees", "eurosat"])
def archive(request, tmp_path):
    "The name of a set, and its archive, with what macOS and the publishers put beside the pictures."
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as z:
        for inside, bands in paths(request.param).items():
            z.writestr(inside, image_file(PIXELS[..., :bands], inside[-4:]))
            folder, _, file = inside.rpartition("/")
            z.writestr(f"{folder}/._{file}", b"left by macOS")
        z.writestr("readme.txt", "hello")
    return request.param, path


def run(*arguments):
    return pictures.main([str(a) for a in arguments])


def test_pictures_and_what_is_known_of_them(tmp_path, archive, capsys):
    name, path = archive

    assert run(name, "--archive", path, "--out", tmp_path / "out") == 0

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["licence"] and manifest["citation"] and manifest["source"].startswith("https://")
    assert len(manifest["pictures"]) == len(paths(name))
    here = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert here == {*manifest["files"], "manifest.json"}
    for file, one in manifest["pictures"].items():
        assert one["train"] == file.startswith("images/") and one["scene"]
        made = np.asarray(Image.open(tmp_path / "out" / file))
        assert made.shape == (16, 17, 3)
        if file.endswith(".png"):
            np.testing.assert_array_equal(made, PIXELS[..., :3])

    # a second run does nothing, and damage is mended
    capsys.readouterr()
    assert run(name, "--archive", path, "--out", tmp_path / "out") == 0
    assert "already there and unchanged" in capsys.readouterr().out
    (tmp_path / "out" / file).write_bytes(b"damaged")
    assert run(name, "--archive", path, "--out", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out" / file).size == (17, 16)


def test_the_pictures_that_are_measured_never_train(tmp_path):
    for inside, bands in paths("uc_merced").items():
        (tmp_path / inside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / inside).write_bytes(image_file(PIXELS[..., :bands], ".tif"))

    assert run("uc_merced", "--source", tmp_path / "UCMerced_LandUse", "--out", tmp_path / "out") == 0

    assert {p.stem for p in (tmp_path / "out/held_out").iterdir()} == HELD_OUT
    trained = {p.stem for p in (tmp_path / "out/images").iterdir()}
    assert trained & HELD_OUT == set()
    assert {"harbor_80", "storagetanks_77", "airplane_79", "tenniscourt_90"} <= trained


def test_bad_input_is_named(tmp_path, capsys):
    folder = tmp_path / "Images/harbor"
    folder.mkdir(parents=True)
    (folder / "harbor01.tif").write_bytes(b"no picture")

    assert run("uc_merced", "--source", tmp_path, "--out", tmp_path / "out") == 2
    assert "harbor01.tif: not a picture of three bands" in capsys.readouterr().err
    assert run("eurosat", "--source", tmp_path, "--out", tmp_path / "out") == 2
    assert "no pictures of eurosat here; give EuroSAT_RGB.zip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

    # a folder of somebody else is left alone
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").write_text("dear")
    assert run("uc_merced", "--source", tmp_path, "--out", tmp_path / "mine") == 2
    assert "holds something else" in capsys.readouterr().err and (tmp_path / "mine/diary.txt").exists()

"data_scripts/: on miniatures of the published archives."
import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_zeroseg.data import IGNORE, FolderDataset
from rs_zeroseg.vocab import unseen_words

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("dubai", ROOT / "data_scripts" / "dubai.py")
dubai = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(dubai)
COLOURS = np.array([[0x3C, 0x10, 0x98], [0x84, 0x29, 0xF6], [0x6E, 0xC1, 0xE4], [0xFE, 0xDD, 0x3A], [0xE2, 0xA9, 0x29], [0x9B, 0x9B, 0x9B], [0, 0, 0]], np.uint8)


def answers(tile, part): return np.random.default_rng((tile, part)).integers(0, 7, (12, 10 + tile))


@pytest.fixture
def source(tmp_path):
    "Tiles 1 and 2 as in the published archive."
    top = tmp_path / "Semantic segmentation dataset"
    for tile in (1, 2):
        for kind in ("images", "masks"): (top / f"Tile {tile}" / kind).mkdir(parents=True)
        for part in range(1, 10):
            codes = answers(tile, part)
            Image.fromarray(COLOURS[codes]).save(top / f"Tile {tile}" / "masks" / f"image_part_{part:03d}.png")
            Image.fromarray(COLOURS[codes]).save(top / f"Tile {tile}" / "images" / f"image_part_{part:03d}.jpg")
    return top


def run(*arguments): return dubai.main([str(a) for a in arguments])


def check(out, tiles):
    data = FolderDataset(out / "images", out / "masks", out / "labels.json")
    assert data.words == ["building", "land", "road", "vegetation", "water"]
    assert [item["name"] for item in data] == [f"tile{t}_part{p:03d}" for t in tiles for p in range(1, 10)]
    for item in data:
        tile, part = (int("".join(filter(str.isdigit, s))) for s in item["name"].split("_"))
        codes = answers(tile, part)
        np.testing.assert_array_equal(item["mask"], np.where(codes > 4, IGNORE, codes))


@pytest.mark.parametrize("layout", ["archive", "tile first", "kind first"])
def test_all_layouts_give_the_same(tmp_path, source, layout):
    out, how = tmp_path / "out", ["--source", source]
    if layout == "archive":
        how = ["--archive", tmp_path / "archive.zip"]
        with zipfile.ZipFile(how[1], "w") as z:
            for p in source.rglob("*.*"): z.write(p, p.relative_to(tmp_path).as_posix())
            z.writestr("__MACOSX/Tile 1/images/image_part_001.jpg", "not an image")
    if layout == "kind first":
        how[1] = tmp_path / "other"
        for p in source.rglob("*.*"):
            target = how[1] / p.parent.name / p.parent.parent.name / p.name
            target.parent.mkdir(parents=True, exist_ok=True); target.write_bytes(p.read_bytes())
    assert run(*how, "--out", out, "--tiles", 2, 1) == 0
    check(out, (1, 2))


def test_a_second_run_does_nothing_and_damage_is_repaired(tmp_path, source, capsys):
    out, arguments = tmp_path / "out", ["--source", source, "--tiles", 1, 2]
    assert run(*arguments, "--out", out) == 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.*")}
    assert run(*arguments, "--out", out) == 0 and "already there" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.*")} == before
    (out / "masks" / "tile1_part001.png").write_bytes(b"damaged")
    assert run(*arguments, "--out", out) == 0
    check(out, (1, 2))
    assert run("--source", source, "--tiles", 2, "--out", out) == 0        # fewer tiles: the others go
    check(out, (2,))
    assert set(json.loads((out / "manifest.json").read_text())["files"]) | {"manifest.json"} == {p.relative_to(out).as_posix() for p in out.rglob("*.*")}


@pytest.mark.parametrize("harm,message", [("mask missing", "Tile 1 has 8 pairs"), ("colour", "mask value #010203"), ("size", "the mask has"),
                                          ("cut off", "broken image file")])
def test_bad_input_is_named(tmp_path, source, capsys, harm, message):
    mask = source / "Tile 1" / "masks" / "image_part_004.png"
    if harm == "mask missing": mask.unlink()
    if harm == "colour": Image.new("RGB", (11, 12), (1, 2, 3)).save(mask)
    if harm == "size": Image.new("RGB", (5, 5)).save(mask)
    if harm == "cut off": mask.write_bytes(mask.read_bytes()[:40])
    assert run("--source", source, "--tiles", 1, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_no_network_names_the_archive(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dubai, "URL", "http://127.0.0.1:9/archive.zip")
    assert run("--out", tmp_path / "out") == 2
    assert "--archive archive.zip" in capsys.readouterr().err


def test_no_word_spoils_the_unseen_tier():
    for words in dubai.written_labels().synonyms: assert not set(words) & set(unseen_words())

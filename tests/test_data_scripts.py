"data_scripts/: on miniatures of the published archives."
import dataclasses
import errno
import functools
import http.server
import importlib.util
import json
import re
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_zeroseg.data import prepare
from rs_zeroseg.data.files import file_hash
from rs_zeroseg.data.imagery import IGNORE, FolderDataset
from rs_zeroseg.data.vocab import DATASETS, LANDDISCOVER50K, unseen_words

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


NAMES = ["landdiscover50k", "flair", "fast", "potsdam", "floodnet", "openearthmap", "loveda", "deepglobe", "isaid"]
PAIRS = {"landdiscover50k": {"train": 3}, "flair": {"test": 2}, "fast": {"val": 3}, "potsdam": {"val": 2, "train": 1}, "deepglobe": {"train": 2},
         "floodnet": {"val+test": 2, "train": 1, "val": 1, "test": 1}, "openearthmap": {"train": 2, "val": 1}, "loveda": {"train": 2, "val": 2},
         "isaid": {"train": 2, "val": 2}}       # in the miniature of the published layout
CASES = [(name, n) for name in NAMES for n in range(2 if name in ("flair", "potsdam", "floodnet") else 1)]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "data_scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(name, sources, out, split=None):
    "The script on zip files, or on the one folder."
    how = ["--source", *sources] if sources[0].is_dir() else ["--archive", *sources]
    module = script(name)
    return prepare.main(module.RECIPE, module.__doc__, [str(a) for a in [*how, "--out", out, *(["--split", split] if split else [])]])


def unpacked(sources, folder):
    "The same as one folder, as someone who unpacked everything has it."
    for source in sources:
        if source.is_dir(): shutil.copytree(source, folder, dirs_exist_ok=True)
        else:
            with zipfile.ZipFile(source) as z: z.extractall(folder)
    return folder


def written(out):
    "Name of a published pair -> its mask, put together from its tiles."
    tiles, masks = {}, {}
    for path in sorted((out / "masks").iterdir()):
        name, r, c = re.fullmatch(r"(.*?)(?:_r(\d\d)c(\d\d))?", path.stem).groups()
        tiles.setdefault(name, {}).setdefault(int(r or 0), []).append(np.asarray(Image.open(path)))
    for name, rows in tiles.items(): masks[name] = np.block([row for _, row in sorted(rows.items())])
    return masks


@pytest.mark.parametrize("name,layout", CASES)
def test_a_miniature_of_each_layout(tmp_path, capsys, name, layout):
    recipe = script(name).RECIPE
    chosen = recipe.layouts[layout]
    sources, truth = prepare.make_miniature(recipe, tmp_path / "raw", chosen)
    for split in chosen.splits:
        out = tmp_path / split
        assert run_script(name, sources, out, split) == 0
        masks = written(out)
        if layout == 0: assert len(masks) == PAIRS[name][split]
        for key, mask in masks.items(): np.testing.assert_array_equal(mask, truth[key])
        manifest = prepare.read_manifest(out)
        for k, word in enumerate(recipe.labels().words): assert manifest["pixels"][word] == sum(int((truth[key] == k).sum()) for key in masks)
        assert manifest["pixels"]["ignored"] == sum(int((truth[key] == IGNORE).sum()) for key in masks) > 0
        assert set(manifest["files"]) | {"manifest.json"} == {p.relative_to(out).as_posix() for p in out.rglob("*.*")}
        data = FolderDataset(out / "images", out / "masks", out / "labels.json")
        assert data.words == [c[0] for c in recipe.categories] and data.labels.licence and data.labels.citation and all(data.labels.colours)
        for item in data: assert item["image"].shape[1:] == item["mask"].shape and max(item["mask"].shape) <= (recipe.tile_px or 100)
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        capsys.readouterr()
        assert run_script(name, sources, out, split) == 0 and "already there and unchanged" in capsys.readouterr().out
        assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert run_script(name, [unpacked(sources, tmp_path / "folder")], tmp_path / "again", split) == 0
    assert {k: m.tobytes() for k, m in written(tmp_path / "again").items()} == {k: m.tobytes() for k, m in masks.items()}


@pytest.mark.parametrize("harm,message", [("archive cut off", "not a whole zip file"), ("image cut off", "damaged or cut short"), ("code", "is not in the labels"),
                                          ("size", "pixels, but its image has"), ("mask missing", "no mask of that name"), ("disk full", "the disk is full")])
@pytest.mark.parametrize("name", NAMES)
def test_harm_is_named_and_nothing_is_left(tmp_path, capsys, monkeypatch, name, harm, message):
    recipe = script(name).RECIPE
    sources, _ = prepare.make_miniature(recipe, tmp_path / "raw")
    image, mask = (tmp_path / "folder" / path.partition(".zip/")[2] if ".zip/" in path else tmp_path / "folder" / path for path in recipe.layouts[0].sample.pairs[0])
    named = mask
    if harm == "archive cut off":
        if sources[0].is_dir(): pytest.skip("is given as a folder")
        named = sources[0]; named.write_bytes(named.read_bytes()[:-100])
    else:
        sources = [unpacked(sources, tmp_path / "folder")]
        colours = isinstance(recipe.layouts[0].codes[-1], str)
        with Image.open(mask) as opened: size = opened.size
        if harm == "image cut off": named = image; image.write_bytes(image.read_bytes()[:len(image.read_bytes()) // 2])
        if harm == "code": Image.new("RGB" if colours else "L", size, (255, 0, 1 if name == "potsdam" else 0) if colours else 99).save(mask)
        if harm == "size": Image.new("RGB" if colours else "L", (5, 6)).save(mask)
        if harm == "mask missing": named = image; mask.unlink()
        if harm == "disk full":
            named = tmp_path / "out"
            write = prepare.put
            def put(path, content):
                if path.parent.name == "masks": raise OSError(errno.ENOSPC, "No space left on device", str(path))
                return write(path, content)
            monkeypatch.setattr(prepare, "put", put)
    assert run_script(name, sources, tmp_path / "out") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert message in line and named.name in line
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_a_failure_leaves_the_set_of_before(tmp_path, capsys):
    sources, truth = prepare.make_miniature(script("fast").RECIPE, tmp_path / "raw")
    assert run_script("fast", sources, tmp_path / "out") == 0
    (tmp_path / "out" / "masks" / "9__1024__0___412.png").write_bytes(b"damaged")
    cut = tmp_path / "cut.zip"; cut.write_bytes(sources[0].read_bytes()[:5000])
    assert run_script("fast", [cut], tmp_path / "out") == 2 and (tmp_path / "out" / "manifest.json").exists()
    assert run_script("fast", sources, tmp_path / "out") == 0          # damage was seen, and is repaired
    for key, mask in written(tmp_path / "out").items(): np.testing.assert_array_equal(mask, truth[key])


def test_bad_files_are_named_together(tmp_path, capsys):
    recipe = script("landdiscover50k").RECIPE
    source = prepare.make_miniature(recipe, tmp_path / "raw")[0][0]
    for kind in ("TR_Image", "GT_ID"):
        for n in range(8): shutil.copy(next((source / "LandDiscover50K" / kind).glob("aachen*")), source / "LandDiscover50K" / kind / f"copy{n}.png")
    bad = [source / "LandDiscover50K" / "TR_Image" / f"copy{n}.png" for n in range(8)]
    for path in bad[:2]: path.write_bytes(b"no image")
    assert run_script("landdiscover50k", [source], tmp_path / "out") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "copy0.png: damaged" in line and "also " in line and "copy1.png" in line and "copy2" not in line
    for path in bad: path.write_bytes(b"no image")
    assert run_script("landdiscover50k", [source], tmp_path / "out") == 2
    assert capsys.readouterr().err.splitlines()[-1].count(".png") == prepare.BAD_FILES      # enough: it stops


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    sources, _ = prepare.make_miniature(script("fast").RECIPE, tmp_path / "raw")
    def put(path, content): raise KeyboardInterrupt
    monkeypatch.setattr(prepare, "put", put)
    assert run_script("fast", sources, tmp_path / "out") == 130
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_a_killed_run_is_done_again(tmp_path):
    sources, truth = prepare.make_miniature(script("fast").RECIPE, tmp_path / "raw")
    (tmp_path / "out.part" / "masks").mkdir(parents=True); (tmp_path / "out.part" / "masks" / "left.png").write_bytes(b"half")     # what kill -9 leaves
    assert run_script("fast", sources, tmp_path / "out") == 0
    assert set(written(tmp_path / "out")) == set(truth) and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("md5_is_right", [True, False])
def test_archives_are_downloaded_and_checked(tmp_path, capsys, md5_is_right):
    recipe = script("loveda").RECIPE
    archives, truth = prepare.make_miniature(recipe, tmp_path / "home")
    asked = []

    class Home(http.server.SimpleHTTPRequestHandler):
        def do_GET(self): asked.append(self.path); super().do_GET()
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Home, directory=tmp_path / "home"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    val = prepare.Archive("Val.zip", f"http://127.0.0.1:{server.server_port}/Val.zip?download=1", file_hash(tmp_path / "home" / "Val.zip", "md5") if md5_is_right else "0" * 32)
    local = dataclasses.replace(recipe, layouts=(dataclasses.replace(recipe.layouts[0], archives={"val": (val,)}),))
    run = lambda: prepare.main(local, "", ["--split", "val", "--out", str(tmp_path / "data" / "val")])
    try:
        assert run() == (0 if md5_is_right else 2)
        if md5_is_right:
            assert set(written(tmp_path / "data" / "val")) == {name for name in truth if name.startswith("Val")} and (tmp_path / "data" / "archives" / "Val.zip").exists()
            (tmp_path / "data" / "val" / "manifest.json").unlink(); shutil.rmtree(tmp_path / "data" / "val")
            assert run() == 0                                     # the archive is there: nobody is asked again
        else:
            assert "MD5 differs" in capsys.readouterr().err.splitlines()[-1] and not list((tmp_path / "data").rglob("*.png"))
        assert asked == ["/Val.zip?download=1"]
    finally: server.shutdown(); server.server_close()


@pytest.mark.parametrize("name", NAMES)
def test_without_archives_the_way_is_told(tmp_path, monkeypatch, capsys, name):
    recipe = script(name).RECIPE
    here = [tuple(dataclasses.replace(a, url="http://127.0.0.1:9/" + a.name) for a in group) for group in recipe.layouts[0].archives.values()]
    layouts = (dataclasses.replace(recipe.layouts[0], archives=dict(zip(recipe.layouts[0].archives, here))), *recipe.layouts[1:])
    assert prepare.main(dataclasses.replace(recipe, layouts=layouts), "", ["--out", str(tmp_path / name / "out")]) == 2
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0 and "http" in line and str(tmp_path / name / "archives") in line and ("by hand" in line or "save it from a browser" in line)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_where_its_facts_are_from(name):
    module, lines = script(name), (ROOT / "data_scripts" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert "https://" in module.__doc__ and len(lines) <= 60
    if name in ("openearthmap", "loveda", "deepglobe", "isaid"): assert "THE CHOICE IS OURS" in module.__doc__ and not module.RECIPE.novel
    assert all(re.search(layout.image, image) and re.search(layout.mask, mask) for layout in module.RECIPE.layouts for image, mask in layout.sample.pairs)


def test_the_sets_of_the_paper_have_its_names():
    for name in ("flair", "fast", "potsdam", "floodnet"):
        recipe = script(name).RECIPE
        vocabulary = DATASETS[recipe.name]
        assert tuple(recipe.labels().words) == vocabulary.order
        assert {w for w, novel in zip(recipe.labels().words, recipe.labels().novel) if novel} == set(vocabulary.novel)
    assert tuple(script("landdiscover50k").RECIPE.labels().words) == LANDDISCOVER50K[1:]


def test_no_word_spoils_the_unseen_tier():
    for words in dubai.written_labels().synonyms: assert not set(words) & set(unseen_words())

"data_scripts/: on miniatures of the published archives."
import ast
import dataclasses
import errno
import functools
import http.server
import json
import shutil
import threading
import zipfile

import numpy as np
import pytest
from data_sets import NAMES, ROOT, listed, run_script, script, unpacked, written
from PIL import Image

from rs_zeroseg.data import command, prepare, recipes
from rs_zeroseg.data.files import file_hash
from rs_zeroseg.data.imagery import FolderDataset
from rs_zeroseg.data.labels import IGNORE
from rs_zeroseg.data.vocab import DATASETS, LANDDISCOVER50K, unseen_words

dubai = script("dubai")
COLOURS = np.array([
    [0x3C, 0x10, 0x98], [0x84, 0x29, 0xF6], [0x6E, 0xC1, 0xE4], [0xFE, 0xDD, 0x3A], [0xE2, 0xA9, 0x29],
    [0x9B, 0x9B, 0x9B], [0, 0, 0],
], np.uint8)


def answers(tile, part):
    "The codes of a part of a tile: 0 to 4 categories, 5 and 6 ignored."
    return np.random.default_rng((tile, part)).integers(0, 7, (12, 10 + tile))


@pytest.fixture
def source(tmp_path):
    "Tiles 1 and 2 as in the published archive."
    top = tmp_path / "Semantic segmentation dataset"
    for tile in (1, 2):
        for kind in ("images", "masks"):
            (top / f"Tile {tile}" / kind).mkdir(parents=True)
        for part in range(1, 10):
            codes = answers(tile, part)
            Image.fromarray(COLOURS[codes]).save(top / f"Tile {tile}" / "masks" / f"image_part_{part:03d}.png")
            Image.fromarray(COLOURS[codes]).save(top / f"Tile {tile}" / "images" / f"image_part_{part:03d}.jpg")
    return top


def run(*arguments):
    return dubai.main([str(a) for a in arguments])


def files(out):
    "When each file of a folder was written."
    return {p: p.stat().st_mtime_ns for p in out.rglob("*.*")}


def check(out, tiles):
    "What came out is these tiles, with the right masks."
    data = FolderDataset(out / "images", out / "masks", out / "labels.json")
    assert data.words == ["building", "land", "road", "vegetation", "water"]
    assert [item["name"] for item in data] == [f"tile{t}_part{p:03d}" for t in tiles for p in range(1, 10)]
    for item in data:
        tile, part = (int("".join(filter(str.isdigit, s))) for s in item["name"].split("_"))
        codes = answers(tile, part)
        np.testing.assert_array_equal(item["mask"], np.where(codes > 4, IGNORE, codes))


def as_archive(source, tmp_path):
    "The tiles as the published zip, with what macOS adds."
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as z:
        for p in source.rglob("*.*"):
            z.write(p, p.relative_to(tmp_path).as_posix())
        z.writestr("__MACOSX/Tile 1/images/image_part_001.jpg", "not an image")
    return "--archive", path


def kind_first(source, tmp_path):
    "The tiles as images/Tile N and masks/Tile N."
    folder = tmp_path / "other"
    for p in source.rglob("*.*"):
        target = folder / p.parent.name / p.parent.parent.name / p.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(p.read_bytes())
    return "--source", folder


LAYOUTS = {"archive": as_archive, "tile first": lambda source, _: ("--source", source), "kind first": kind_first}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_give_the_same(tmp_path, source, layout):
    how = LAYOUTS[layout](source, tmp_path)

    assert run(*how, "--out", tmp_path / "out", "--tiles", 2, 1) == 0

    check(tmp_path / "out", (1, 2))


def test_a_second_run_does_nothing_and_damage_is_repaired(tmp_path, source, capsys):
    out, arguments = tmp_path / "out", ["--source", source, "--tiles", 1, 2]
    assert run(*arguments, "--out", out) == 0
    before = files(out)

    # nothing to do
    assert run(*arguments, "--out", out) == 0
    assert "already there" in capsys.readouterr().out
    assert files(out) == before

    # damage
    (out / "masks" / "tile1_part001.png").write_bytes(b"damaged")
    assert run(*arguments, "--out", out) == 0
    check(out, (1, 2))

    # fewer tiles: the others go
    assert run("--source", source, "--tiles", 2, "--out", out) == 0
    check(out, (2,))
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json"} == listed(out)


HARMS = {   # message -> what is done to a mask
    "Tile 1 has 8 pairs": lambda mask: mask.unlink(),
    "mask value #010203": lambda mask: Image.new("RGB", (11, 12), (1, 2, 3)).save(mask),
    "the mask has": lambda mask: Image.new("RGB", (5, 5)).save(mask),
    "broken image file": lambda mask: mask.write_bytes(mask.read_bytes()[:40]),
}


@pytest.mark.parametrize("message", HARMS)
def test_bad_input_is_named(tmp_path, source, capsys, message):
    HARMS[message](source / "Tile 1" / "masks" / "image_part_004.png")

    assert run("--source", source, "--tiles", 1, "--out", tmp_path / "out") == 2

    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_damaged_archive_is_named(tmp_path, source, capsys):
    _, archive = as_archive(source, tmp_path)
    harmed = bytearray(archive.read_bytes())
    at = harmed.index(b"image_part_004.png") + 60
    harmed[at:at + 9] = b"\xff" * 9
    archive.write_bytes(harmed)

    assert run("--archive", archive, "--tiles", 1, 2, "--out", tmp_path / "out") == 2

    error = capsys.readouterr().err
    assert "image_part_004.png: cannot be taken out of its archive" in error and error.count("\n") == 1


def test_no_network_names_the_archive(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dubai, "URL", "http://127.0.0.1:9/archive.zip")

    assert run("--out", tmp_path / "out") == 2

    assert "--archive archive.zip" in capsys.readouterr().err


PAIRS = {       # in the miniature of each layout
    ("landdiscover50k", "gsnet"): {"train": 3},
    ("flair", "gsnet"): {"test": 2}, ("flair", "flair1"): {"flair1-test": 2}, ("flair", "flair2"): {"flair2-test": 2},
    ("fast", "gsnet"): {"val": 3}, ("fast", "samrs"): {"val": 2, "train": 1},
    ("potsdam", "published"): {"val": 2, "train": 1}, ("potsdam", "gsnet"): {"val": 1},
    ("potsdam", "mmsegmentation"): {"val": 1, "train": 1}, ("potsdam", "torchgeo"): {"val": 1, "train": 1},
    ("floodnet", "published"): {"val+test": 2, "train": 1, "val": 1, "test": 1}, ("floodnet", "gsnet"): {"val+test": 1},
    ("openearthmap", "published"): {"train": 2, "val": 1}, ("loveda", "published"): {"train": 2, "val": 2},
    ("deepglobe", "published"): {"train": 2}, ("deepglobe", "torchgeo"): {"train": 2, "test": 1},
    ("isaid", "published"): {"train": 2, "val": 2}, ("isaid", "devkit"): {"train": 2, "val": 1},
}
CASES = [(name, layout.name) for name in NAMES for layout in script(name).RECIPE.layouts]


def check_manifest(out, recipe, truth):
    "The manifest counts the pixels and lists the files."
    manifest = prepare.read_manifest(out)
    names = written(out)
    for k, word in enumerate(recipe.labels().words):
        assert manifest["pixels"][word] == sum(int((truth[n] == k).sum()) for n in names)
    assert manifest["pixels"]["ignored"] == sum(int((truth[n] == IGNORE).sum()) for n in names) > 0
    assert set(manifest["files"]) | {"manifest.json"} == listed(out)


def check_samples(out, recipe):
    "A data set can be read from the folder, with all that is known of it."
    data = FolderDataset(out / "images", out / "masks", out / "labels.json")
    assert data.words == [c[0] for c in recipe.categories]
    assert data.labels.licence and data.labels.citation and all(data.labels.colours)
    for item in data:
        assert item["image"].shape[1:] == item["mask"].shape
        assert max(item["mask"].shape) <= (recipe.tile_px or 100)


@pytest.mark.parametrize("name,layout", CASES)
def test_a_miniature_of_each_layout(tmp_path, capsys, name, layout):
    recipe = script(name).RECIPE
    chosen = next(one for one in recipe.layouts if one.name == layout)
    sources, truth = recipes.make_miniature(recipe, tmp_path / "raw", chosen)

    for split in chosen.splits:
        out = tmp_path / split
        assert run_script(name, sources, out, split) == 0
        masks = written(out)
        assert len(masks) == PAIRS[name, layout][split]
        assert prepare.read_manifest(out)["layout"] == layout
        for key, mask in masks.items():
            np.testing.assert_array_equal(mask, truth[key])
        check_manifest(out, recipe, truth)
        check_samples(out, recipe)

        # a second run does nothing
        before = files(out)
        capsys.readouterr()
        assert run_script(name, sources, out, split) == 0
        assert "already there and unchanged" in capsys.readouterr().out
        assert files(out) == before

    # the last split once more, from an unpacked folder
    assert run_script(name, [unpacked(sources, tmp_path / "folder")], tmp_path / "again", split) == 0
    again = written(tmp_path / "again")
    assert {k: m.tobytes() for k, m in again.items()} == {k: m.tobytes() for k, m in masks.items()}


MESSAGES = {
    "archive cut off": "not a whole zip file", "image cut off": "damaged or cut short", "code": "is not in the labels",
    "size": "pixels, but its image has", "mask missing": "no mask of that name", "disk full": "the disk is full",
}


def harmed(harm, recipe, image, mask):
    "Do one kind of harm to a pair; the file that must be named."
    colours = isinstance(recipe.layouts[0].codes[-1], str)
    kind = "RGB" if colours else "L"
    with Image.open(mask) as opened:
        size = opened.size
    if harm == "image cut off":
        content = image.read_bytes()
        image.write_bytes(content[:len(content) // 2])
        return image
    if harm == "mask missing":
        mask.unlink()
        return image
    if harm == "code":
        unknown = (255, 0, 1 if recipe.name == "Potsdam" else 0) if colours else 99
        Image.new(kind, size, unknown).save(mask)
    if harm == "size":
        Image.new(kind, (5, 6)).save(mask)
    return mask


def fill_the_disk(monkeypatch):
    "From the first mask on nothing can be written."
    write = prepare.put

    def put(path, content):
        if path.parent.name == "masks":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)
    monkeypatch.setattr(prepare, "put", put)


@pytest.mark.parametrize("harm", MESSAGES)
@pytest.mark.parametrize("name", NAMES)
def test_harm_is_named_and_nothing_is_left(tmp_path, capsys, monkeypatch, name, harm):
    recipe = script(name).RECIPE
    sources, _ = recipes.make_miniature(recipe, tmp_path / "raw")
    if harm == "archive cut off":
        if sources[0].is_dir():
            pytest.skip("is given as a folder")
        named = sources[0]
        named.write_bytes(named.read_bytes()[:-100])
    else:
        sources = [unpacked(sources, tmp_path / "folder")]
        pair = (path.rpartition(".zip/")[2] for path in recipe.layouts[0].sample.pairs[0])
        named = harmed(harm, recipe, *(tmp_path / "folder" / path for path in pair))
    if harm == "disk full":
        named = tmp_path / "out"
        fill_the_disk(monkeypatch)

    assert run_script(name, sources, tmp_path / "out", "--strict") == 2

    line = capsys.readouterr().err.splitlines()[-1]
    assert MESSAGES[harm] in line and named.name in line
    assert not (tmp_path / "out").exists() and leftovers(tmp_path) == []


def leftovers(folder):
    "What an unfinished run would leave."
    return [p.name for p in folder.iterdir() if ".part" in p.name]


def test_a_failure_leaves_the_set_of_before(tmp_path, capsys):
    sources, truth = recipes.make_miniature(script("fast").RECIPE, tmp_path / "raw")
    assert run_script("fast", sources, tmp_path / "out") == 0
    (tmp_path / "out" / "masks" / "9__1024__0___412.png").write_bytes(b"damaged")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(sources[0].read_bytes()[:5000])

    assert run_script("fast", [cut], tmp_path / "out") == 2
    assert (tmp_path / "out" / "manifest.json").exists()

    # damage was seen, and is repaired
    assert run_script("fast", sources, tmp_path / "out") == 0
    for key, mask in written(tmp_path / "out").items():
        np.testing.assert_array_equal(mask, truth[key])


def test_bad_files_are_named_together(tmp_path, capsys):
    recipe = script("landdiscover50k").RECIPE
    source = recipes.make_miniature(recipe, tmp_path / "raw")[0][0]
    for kind in ("TR_Image", "GT_ID"):
        folder = source / "LandDiscover50K" / kind
        for n in range(8):
            shutil.copy(next(folder.glob("aachen*")), folder / f"copy{n}.png")
    images = [source / "LandDiscover50K" / "TR_Image" / f"copy{n}.png" for n in range(8)]

    # two of them: both are named
    for path in images[:2]:
        path.write_bytes(b"no image")
    assert run_script("landdiscover50k", [source], tmp_path / "out", "--strict") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "copy0.png: damaged" in line and "also " in line and "copy1.png" in line and "copy2" not in line

    # all of them: enough, it stops
    for path in images:
        path.write_bytes(b"no image")
    assert run_script("landdiscover50k", [source], tmp_path / "out") == 2
    assert capsys.readouterr().err.splitlines()[-1].count(".png") == prepare.BAD_FILES


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    sources, _ = recipes.make_miniature(script("fast").RECIPE, tmp_path / "raw")

    def put(path, content):
        raise KeyboardInterrupt
    monkeypatch.setattr(prepare, "put", put)

    assert run_script("fast", sources, tmp_path / "out") == 130

    assert not (tmp_path / "out").exists() and leftovers(tmp_path) == []


def test_a_killed_run_is_done_again(tmp_path):
    sources, truth = recipes.make_miniature(script("fast").RECIPE, tmp_path / "raw")
    left = tmp_path / ".out.rs_zeroseg-k1ll3d_9.part" / "new" / "masks"     # what kill -9 leaves
    left.mkdir(parents=True)
    (left / "left.png").write_bytes(b"half")

    assert run_script("fast", sources, tmp_path / "out") == 0

    assert set(written(tmp_path / "out")) == set(truth) and leftovers(tmp_path) == []


@pytest.fixture
def home(tmp_path):
    "A server of the folder `home`: its address, and what it was asked for."
    asked = []

    class Home(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    folder = functools.partial(Home, directory=tmp_path / "home")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def prepare_from(address, md5, tmp_path):
    "Prepare LoveDA's val from an archive at that address."
    recipe = script("loveda").RECIPE
    val = recipes.Archive("Val.zip", f"{address}/Val.zip?download=1", md5)
    local = dataclasses.replace(recipe, layouts=(dataclasses.replace(recipe.layouts[0], archives={"val": (val,)}),))
    return command.main(local, "", ["--split", "val", "--out", str(tmp_path / "data" / "val")])


def test_archives_are_downloaded_once(tmp_path, home):
    address, asked = home
    _, truth = recipes.make_miniature(script("loveda").RECIPE, tmp_path / "home")
    md5 = file_hash(tmp_path / "home" / "Val.zip", "md5")

    assert prepare_from(address, md5, tmp_path) == 0
    assert set(written(tmp_path / "data" / "val")) == {name for name in truth if name.startswith("Val")}
    assert (tmp_path / "data" / "archives" / "Val.zip").exists()

    # the archive is there: nobody is asked again
    shutil.rmtree(tmp_path / "data" / "val")
    assert prepare_from(address, md5, tmp_path) == 0
    assert asked == ["/Val.zip?download=1"]


def test_another_archive_is_refused(tmp_path, capsys, home):
    address, asked = home
    recipes.make_miniature(script("loveda").RECIPE, tmp_path / "home")

    assert prepare_from(address, "0" * 32, tmp_path) == 2

    assert "MD5 differs" in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "data").rglob("*.png")) and asked == ["/Val.zip?download=1"]


@pytest.mark.parametrize("name", NAMES)
def test_without_archives_the_way_is_told(tmp_path, capsys, name):
    recipe = script(name).RECIPE
    nowhere = {}
    for split, archives in recipe.layouts[0].archives.items():
        nowhere[split] = tuple(dataclasses.replace(a, url="http://127.0.0.1:9/" + a.name) for a in archives)
    layouts = (dataclasses.replace(recipe.layouts[0], archives=nowhere), *recipe.layouts[1:])
    lost = dataclasses.replace(recipe, layouts=layouts)

    assert command.main(lost, "", ["--out", str(tmp_path / name / "out")]) == 2

    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0 and "http" in line and str(tmp_path / name / "archives") in line
    assert "by hand" in line or "save it from a browser" in line


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_a_recipe_and_says_where_its_facts_are_from(name):
    module = script(name)
    tree = ast.parse((ROOT / "data_scripts" / f"{name}.py").read_text(encoding="utf-8"))
    code = [n for n in tree.body if not isinstance(n, (ast.Import, ast.ImportFrom, ast.Expr))]

    assert "https://" in module.__doc__
    assert len(code) <= 6, "names, colours, the recipe and its call: what has to be done is in prepare"
    if name in ("openearthmap", "loveda", "deepglobe", "isaid"):
        assert "THE CHOICE IS OURS" in module.__doc__ and not module.RECIPE.novel
    for layout in module.RECIPE.layouts:
        for image, mask in layout.sample.pairs:
            assert recipes.pair_name(layout.image, image) and recipes.pair_name(layout.mask, mask)


def test_the_sets_of_the_paper_have_its_names():
    for name in ("flair", "fast", "potsdam", "floodnet"):
        recipe = script(name).RECIPE
        vocabulary = DATASETS[recipe.name]
        assert tuple(recipe.labels().words) == vocabulary.order
        assert {w for w, novel in zip(recipe.labels().words, recipe.labels().novel) if novel} == set(vocabulary.novel)
    assert tuple(script("landdiscover50k").RECIPE.labels().words) == LANDDISCOVER50K[1:]


def test_no_word_spoils_the_unseen_tier():
    for words in dubai.written_labels().synonyms:
        assert not set(words) & set(unseen_words())

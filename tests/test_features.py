"Features kept on disk: any model, any block, killed and resumed; what `ask` says is what `segment` says."
import json
import shutil
import sys

import numpy as np
import pytest
import rasterio
import torch
from small_rasters import blobs, write

from rs_zeroseg.data.files import leftovers
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.model.segmenter import Features, Segmenter
from rs_zeroseg.use.ask import ask, encode, read_about
from rs_zeroseg.use.features import margin_px
from rs_zeroseg.use.raster import segment
from rs_zeroseg.use.source import Asked

pytest.importorskip("zarr")
WORDS = ["90/10/10", "10/90/10", "10/10/90"]


class ByColour(Segmenter):
    "Pointwise, at 1/4 of the size: word 'r/g/b' is a colour in percent; probability falls with the distance to it."
    step = 4

    def __init__(self, stop_at=None):
        super().__init__(None)
        self.windows, self.stop_at = 0, stop_at

    def encode_words(self, words):
        return torch.tensor([[int(v)/100 for v in w.split("/")] for w in words])

    def cells(self, image):
        "The mean colour of 4 x 4 pixels; the last row and column are repeated."
        h, w = image.shape[-2:]
        image = torch.nn.functional.pad(image, (0, -w % 4, 0, -h % 4), mode="replicate")
        return torch.nn.functional.avg_pool2d(image, 4), tuple(image.shape[-2:])

    def kept(self, cells):
        "What the model keeps beside the cells."

    def encode_image(self, image):
        if self.windows == self.stop_at:
            raise KeyboardInterrupt
        self.windows += 1
        cells, seen = self.cells(image)
        return Features(cells, self.kept(cells), tuple(image.shape[-2:]), seen)

    def score(self, features, text_emb):
        distance = (features.vlm[:, None] - text_emb[None, :, :, None, None]).square().sum(2)
        return torch.exp(-4*distance).clamp(1e-6, 1 - 1e-6).logit(), None


class Nested(ByColour):
    "Keeps a nest of tuples and lists, one of them on a coarser grid, and answers from its inside."
    step = 8

    def kept(self, cells):
        return [None, (cells, torch.nn.functional.avg_pool2d(cells, 2))], (cells[:, :1],)

    def cells(self, image):
        h, w = image.shape[-2:]
        image = torch.nn.functional.pad(image, (0, -w % 8, 0, -h % 8), mode="replicate")
        return torch.nn.functional.avg_pool2d(image, 4), tuple(image.shape[-2:])

    def score(self, features, text_emb):
        (nothing, (fine, coarse)), (red,) = features.dense
        assert nothing is None and red.shape[1] == 1 and coarse.shape[-1]*2 == fine.shape[-1]
        return super().score(Features(fine, None, features.size, features.seen), text_emb)


class Whole(ByColour):
    "Each answer depends on the mean of the whole window, as a refined query does."
    def score(self, features, text_emb):
        logits, _ = super().score(features, text_emb)
        return logits + features.vlm.mean((2, 3))[:, :1, None, None]*text_emb[None, :, :1, None], None


def read(path):
    with rasterio.open(path) as src:
        return src.read()


def contents(folder):
    "Relative name -> bytes of every file."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("model, margin", [(ByColour(), (4, 4)), (Nested(), (8, 8)), (Whole(), None)],
                         ids=lambda given: type(given).__name__)
def test_ask_says_what_segment_says(tmp_path, model, margin):
    source, folder = write(tmp_path/"in.tif", blobs()), tmp_path/"features"

    encode(source, folder, model, 128, 32, progress=False)
    told = ask(folder, WORDS, tmp_path/"asked.tif", model, probabilities=tmp_path/"asked_p.tif", progress=False)
    wanted = segment(source, WORDS, tmp_path/"map.tif", model, 128, 32, probabilities=tmp_path/"p.tif", progress=False)

    assert margin_px(model) == margin
    assert (read(tmp_path/"asked.tif") == read(tmp_path/"map.tif")).mean() > .999
    assert np.abs(read(tmp_path/"asked_p.tif").astype(int) - read(tmp_path/"p.tif")).max() <= 1
    assert told["share"] == pytest.approx(wanted["share"], abs=.001)
    with rasterio.open(tmp_path/"asked.tif") as one, rasterio.open(tmp_path/"map.tif") as two:
        assert (one.crs, one.transform, one.colormap(1)) == (two.crs, two.transform, two.colormap(1))
        words = [{k: v for k, v in dst.tags(1).items() if k.startswith("word_")} for dst in (one, two)]
        assert len(words[0]) == 3 and words[0] == words[1] and one.tags()["model"] == two.tags()["model"]


def test_the_shipped_model_agrees_over_its_blocks(tmp_path):
    from rs_zeroseg.data.pocket import make_scene
    model, words = load("pocket"), ["road", "tree", "water", "building", "grass"]
    source = write(tmp_path/"in.tif", make_scene(4, size=300).image.transpose(2, 0, 1))

    encode(source, tmp_path/"features", model, 128, progress=False)
    ask(tmp_path/"features", words, tmp_path/"asked.tif", model, progress=False)
    segment(source, words, tmp_path/"map.tif", model, 128, progress=False)

    assert read_about(tmp_path/"features")["margin"] is not None
    assert (read(tmp_path/"asked.tif") == read(tmp_path/"map.tif")).mean() > .995


def test_features_at_another_gsd_give_a_map_on_the_grid_of_the_input(tmp_path):
    source, folder, model, half = write(tmp_path/"in.tif", blobs()), tmp_path/"features", ByColour(), Asked(gsd=.4)

    encode(source, folder, model, 128, progress=False, asked=half)
    ask(folder, WORDS, tmp_path/"asked.tif", model, progress=False)
    segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False, asked=half)

    assert (read_about(folder)["seen"]["width"], read_about(folder)["map"]["width"]) == (210, 420)
    assert (read(tmp_path/"asked.tif") == read(tmp_path/"map.tif")).mean() > .999
    with pytest.raises(ValueError, match="of another raster or model"):
        encode(source, folder, model, 128, progress=False)


def test_no_data_stays_no_data_and_takes_no_room(tmp_path):
    image = blobs()
    image[:, :, 130:] = 0
    source, folder, model = write(tmp_path/"in.tif", image, nodata=0), tmp_path/"features", ByColour()

    encode(source, folder, model, 128, 16, progress=False)
    encoded = model.windows
    ask(folder, WORDS, tmp_path/"asked.tif", model, progress=False)
    segment(source, WORDS, tmp_path/"map.tif", model, 128, 16, progress=False)

    assert (read(tmp_path/"asked.tif") == read(tmp_path/"map.tif")).mean() > .999
    chunks = [p for p in (folder/"zarr"/"tensor_00").iterdir() if not p.name.startswith(".")]
    assert 0 < len(chunks) < read_about(folder)["blocks"] and encoded == len(chunks) + 2, "two for the plan"


def holed():
    "An image with a hole of some pixels, one of a single pixel, and a slanted edge; 0 is nodata."
    image = blobs()
    image[:, 60:83, 90:131] = image[:, 200, 200] = 0
    rows, columns = np.indices(image.shape[1:])
    image[:, rows + 3*columns > 1300] = 0
    return image


@pytest.mark.parametrize("gsd", [.1, .31, .4, 1.7])
def test_ask_and_segment_hold_data_in_the_same_pixels_at_every_gsd(tmp_path, gsd):
    "The pixels of the map are .2 m; those that the model sees are finer or coarser."
    source, folder, model = write(tmp_path/"in.tif", holed(), nodata=0), tmp_path/"features", ByColour()
    how = Asked(gsd=gsd)

    made = encode(source, folder, model, 128, progress=False, asked=how)
    asked = ask(folder, WORDS, tmp_path/"asked.tif", model, progress=False)
    wanted = segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False, asked=how)

    one, two = read(tmp_path/"asked.tif"), read(tmp_path/"map.tif")
    np.testing.assert_array_equal(one == 255, two == 255)
    assert (two[0][(holed() == 0).all(0)] == 255).all() and (one == two).mean() > .999
    assert asked["nodata"] == wanted["nodata"] > 0
    assert (read(folder/"valid.tif")[0] == (two[0] != 255)).all()
    held = sum(len(content) for content in contents(folder).values())
    assert held < 1.1*made["bytes"] + 20_000, "notes and headers"


def test_a_kill_before_the_last_file_leaves_no_folder_and_the_next_run_ends(tmp_path, monkeypatch):
    source, folder, how = write(tmp_path/"in.tif", holed(), nodata=0), tmp_path/"features", Asked(gsd=.4)
    encode(source, tmp_path/"whole", ByColour(), 128, progress=False, asked=how)

    def killed(path, *args, **options):
        path.with_name("plain_valid.tif").write_bytes(b"half a file")
        raise KeyboardInterrupt
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("rs_zeroseg.use.ask.write_raster", killed)
        encode(source, folder, ByColour(), 128, progress=False, asked=how)
    assert not folder.exists() and len(leftovers(folder, "blocks")) == 1
    encode(source, folder, rest := ByColour(), 128, progress=False, asked=how)

    assert rest.windows == 2, "for the plan"
    assert contents(folder) == contents(tmp_path/"whole")


def test_a_mask_that_is_damaged_is_named(tmp_path):
    source, folder, model = write(tmp_path/"in.tif", holed(), nodata=0), tmp_path/"features", ByColour()
    encode(source, folder, model, 128, progress=False, asked=Asked(gsd=.4))
    (folder/"valid.tif").write_bytes((folder/"valid.tif").read_bytes()[:600])

    with pytest.raises(ValueError, match=r"valid\.tif: damaged or cut short"):
        ask(folder, WORDS, tmp_path/"asked.tif", model, progress=False)


def test_a_killed_encode_goes_on_and_ends_with_the_same_bytes(tmp_path):
    source, whole, rest = write(tmp_path/"in.tif", blobs()), ByColour(), ByColour()
    encode(source, tmp_path/"whole", whole, 128, 16, progress=False)

    with pytest.raises(KeyboardInterrupt, match="3 of"):
        encode(source, tmp_path/"killed", ByColour(stop_at=5), 128, 16, progress=False)   # two are for the plan
    (kept,) = leftovers(tmp_path/"killed", "blocks")
    with open(kept/"features"/"log"/"valid", "ab") as file:
        file.write(b"half a block")
    encode(source, tmp_path/"killed", rest, 128, 16, progress=False)

    assert rest.windows == whole.windows - 3
    assert contents(tmp_path/"killed") == contents(tmp_path/"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "killed", "whole"]


def test_another_request_finds_nothing_of_a_killed_one(tmp_path):
    source, whole = write(tmp_path/"in.tif", blobs()), ByColour()
    with pytest.raises(KeyboardInterrupt):
        encode(source, tmp_path/"features", ByColour(stop_at=5), 128, 16, progress=False)

    encode(source, tmp_path/"features", whole, 256, 16, progress=False)

    assert whole.windows == 2 + read_about(tmp_path/"features")["blocks"]


def test_a_disk_that_is_too_small_is_told_before_the_first_block(tmp_path, monkeypatch):
    source, model = write(tmp_path/"in.tif", blobs()), ByColour()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))

    with pytest.raises(OSError, match=r"features: the features need 0\.\d+ GB, and 0\.000 GB are free; choose"):
        encode(source, tmp_path/"features", model, 128, progress=False)

    assert model.windows == 2 and [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_the_size_that_is_told_is_the_size_on_disk(tmp_path):
    source = write(tmp_path/"in.tif", blobs(1024, 1024))

    with pytest.warns(UserWarning, match="the features will take"):
        made = encode(source, tmp_path/"features", ByColour(), 128, progress=False)

    held = sum(len(content) for content in contents(tmp_path/"features").values())
    assert held == pytest.approx(made["bytes"], rel=.1)


def test_what_does_not_fit_is_refused_in_one_line(tmp_path, run, monkeypatch):
    source, folder = write(tmp_path/"in.tif", blobs()), tmp_path/"features"
    encode(source, folder, ByColour(), 128, progress=False)
    out = ("--words", "road", "--out", tmp_path/"map.tif")

    other = run("ask", folder, *out)                                 # the shipped model has not encoded it
    nothing = run("ask", tmp_path, *out)
    (tmp_path/"photos").mkdir()
    taken = run("encode", source, "--out", tmp_path/"photos")
    monkeypatch.setitem(sys.modules, "zarr", None)
    missing = run("encode", source, "--out", tmp_path/"new")

    for done, told in ((other, "another model has encoded it"), (nothing, "no features here; make them with"),
                       (taken, "it is there and holds no features"), (missing, "this needs zarr, which the plain")):
        assert done.exit_code == 2 and told in done.stderr.splitlines()[-1], done.output
    assert '".[gis]"' in missing.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features", "in.tif", "photos"]


def test_an_answer_replaces_no_image_that_was_encoded(tmp_path):
    source = write(tmp_path/"in.tif", blobs())
    before = source.read_bytes()
    encode(source, tmp_path/"features", ByColour(), 128, progress=False)

    for out in (source, tmp_path/"features"/"valid.tif"):
        with pytest.raises(ValueError, match=rf"{out.name}: that is read for the map"):
            ask(tmp_path/"features", WORDS, out, ByColour(), progress=False)

    assert source.read_bytes() == before


def test_the_commands(tmp_path, run):
    from rs_zeroseg.data.pocket import make_scene
    source = write(tmp_path/"in.tif", make_scene(1, size=128).image.transpose(2, 0, 1))

    made = run("encode", source, "--out", tmp_path/"features", "--json")
    asked = run("ask", tmp_path/"features", "--words", "water,road", "--out", tmp_path/"asked.tif", "--json")
    wanted = run("segment", source, "--words", "water,road", "--out", tmp_path/"map.tif", "--json")

    assert json.loads(made.stdout)["width"] == 128 and "will take" in made.stderr
    assert json.loads(asked.stdout)["share"] == pytest.approx(json.loads(wanted.stdout)["share"], abs=.01)


def test_the_explorer_asks_a_folder_of_features(tmp_path):
    pytest.importorskip("ipywidgets")
    from rs_zeroseg.data.pocket import make_scene, write_scene
    from rs_zeroseg.use.explore import AttentionExplorer
    model, scene, words = load("pocket"), make_scene(11, size=640), ["road", "water"]
    source, folder = write_scene(scene, tmp_path/"in.tif"), tmp_path/"features"
    encode(source, folder, model, 256, progress=False)
    ask(folder, words, tmp_path/"map.tif", model, probabilities=tmp_path/"p.tif", progress=False)
    source.unlink()                                                  # what is shown comes from the folder

    explorer = AttentionExplorer(model, str(folder), "road, water")
    explorer.side.value = 256
    explorer.overview.pixel = [.5, .5]
    reading = explorer.sight.reading
    here = slice(192, 448), slice(192, 448)

    assert (reading.image.numpy()*255 == scene.image[here].transpose(2, 0, 1)).all()
    for maps, expected in zip(reading.ask(words), read(tmp_path/"p.tif")):
        assert np.abs(254*maps.probability - expected[here]).max() <= .5001
        assert maps.attention.shape == (256, 256) and 0 < maps.attention.min() < maps.attention.max() < 1
    explorer.read_pixel(.3, .6)
    assert "row 76, column 153" in explorer.detail.value and explorer.side.options == (128, 256, 512)
    explorer.part.value = "without the cosine"
    assert "another model has encoded it" in explorer.message.value and explorer.sight.reading is reading


def test_the_map_that_the_explorer_saves_is_that_of_ask(tmp_path, monkeypatch):
    pytest.importorskip("ipywidgets")
    from rs_zeroseg.use.explore import AttentionExplorer
    image = blobs(200, 260)
    image[:, :, 200:] = 0
    source, folder, model = write(tmp_path/"in.tif", image, nodata=0), tmp_path/"features", load("pocket")
    encode(source, folder, model, 128, progress=False)
    monkeypatch.chdir(tmp_path)

    explorer = AttentionExplorer(model, str(folder), "road, water")
    ask(folder, ["road", "water"], "asked.tif", model, threshold=explorer.threshold.value, progress=False)
    explorer.buttons["save map"].click()

    assert (read("map.tif") == read("asked.tif")).all() and (read("map.tif")[0, :, 200:] == 255).all()
    assert not explorer.sight.reading.ask(["road"])[0].attention[:, 200:].any(), "no data, no answer"
    closed = AttentionExplorer(files=False)
    closed.source.value = str(folder)
    assert "on this page give the number of a scene" in closed.message.value

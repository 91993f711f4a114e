"""A raster in, a map out: georeference, seams, nodata, file kinds, many words, interruption, memory.

`make soak` measures the memory at 20,000 x 20,000 pixels.
"""
import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from small_rasters import GEO, blobs, write

from rs_zeroseg.data.bands import Look
from rs_zeroseg.data.files import leftovers
from rs_zeroseg.data.labels import map_to_labels
from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.model.segmenter import Features, Segmenter
from rs_zeroseg.use import raster
from rs_zeroseg.use.raster import bench_raster, segment
from rs_zeroseg.use.source import Asked

WORDS = ["90/10/10", "10/90/10", "10/10/90"]
LARGE_PX = int(os.environ.get("LARGE_PX", 3000))     # side of the raster whose memory is compared
PEAK = """
import sys
import warnings
from test_raster import WORDS, ByColour
from rs_zeroseg.model.budget import peak_memory_mb
from rs_zeroseg.use.raster import segment

warnings.simplefilter("ignore")
segment(sys.argv[1], WORDS, sys.argv[2], ByColour(), progress=False)
print(peak_memory_mb())
"""


class ByColour(Segmenter):
    "Pointwise: word 'r/g/b' is a colour in percent; probability falls with the distance to it."
    def __init__(self):
        super().__init__(None)
        self.windows = 0

    def encode_words(self, words):
        return torch.tensor([[int(v)/100 for v in w.split("/")] for w in words])

    def encode_image(self, image):
        self.windows += 1
        size = tuple(image.shape[-2:])
        return Features(image, None, size, size)

    def score(self, features, text_emb):
        distance = (features.vlm[:, None] - text_emb[None, :, :, None, None]).square().sum(2)
        return torch.exp(-4*distance).clamp(1e-6, 1 - 1e-6).logit(), None


class Interrupted(ByColour):
    "Raises `error` at the sixth window."
    def __init__(self, error):
        super().__init__()
        self.error = error

    def encode_image(self, image):
        if self.windows == 5:
            raise self.error
        return super().encode_image(image)


def read(path):
    "The first band of a raster."
    with rasterio.open(path) as src:
        return src.read(1)


def expected(image, threshold=.5):
    "The labels of the pointwise model, computed without windows."
    colours = np.array([[float(v)/100 for v in w.split("/")] for w in WORDS])
    distance = ((image[None]/255 - colours[:, :, None, None])**2).sum(1)
    p = np.exp(-4*distance)
    return np.where(p.max(0) >= threshold, p.argmax(0), -1)


@pytest.mark.parametrize("block_px,halo_px", [(512, 64), (128, 64), (128, 0), (256, 21)])
def test_georeference_is_kept_and_blocks_do_not_show(tmp_path, block_px, halo_px):
    image, out = blobs(), tmp_path/"map.tif"
    source = write(tmp_path/"in.tif", image)

    result = segment(source, WORDS, out, ByColour(), block_px, halo_px, progress=False)

    with rasterio.open(source) as src, rasterio.open(out) as dst:
        assert (dst.crs, dst.transform, dst.shape, dst.nodata) == (src.crs, src.transform, src.shape, 255)
        assert dst.compression.name == "deflate" and dst.block_shapes == [(256, 256)] and dst.overviews(1) == [2]
        assert dst.tags(1)["word_3"] == WORDS[2] and len({dst.colormap(1)[i] for i in range(4)}) == 4
    labels = map_to_labels(read(out))
    assert (labels == expected(image)).mean() > .9999
    assert result["share"]["none"] == pytest.approx((labels == -1).mean())
    assert sum(result["share"].values()) == pytest.approx(1)


def test_a_map_of_a_crop_is_a_crop_of_the_map(tmp_path):
    "With the shipped model, at an odd place, and with other blocks."
    model, words = load("pocket"), ["road", "tree", "water", "building"]
    image = make_scene(4, size=480).image.transpose(2, 0, 1)
    moved = GEO["transform"] @ rasterio.Affine.translation(101, 67)
    whole = write(tmp_path/"all.tif", image)
    crop = write(tmp_path/"crop.tif", image[:, 67:450, 101:470], transform=moved)

    segment(whole, words, tmp_path/"all_map.tif", model, 512, progress=False)
    segment(crop, words, tmp_path/"crop_map.tif", model, 128, progress=False)

    same = read(tmp_path/"all_map.tif")[67:450, 101:470] == read(tmp_path/"crop_map.tif")
    assert same[64:-64, 64:-64].mean() > .999
    assert same[32:-32, 32:-32].mean() > .99


def write_with_hole(path, image, hole, how):
    "An image whose `hole` is marked by the file's nodata value, by an alpha band or by NaN."
    if how == "value":
        return write(path, np.where(hole, 0, image).astype(np.uint8), nodata=0, crs=None)
    if how == "alpha":
        alpha = np.where(hole, 0, 255).astype(np.uint8)[None]
        return write(path, np.concatenate([image, alpha]), photometric="RGB", alpha="YES", crs=None)
    return write(path, np.where(hole, np.nan, image).astype(np.float32), crs=None)


@pytest.mark.parametrize("how", ["value", "alpha", "nan"])
def test_nodata_in_is_nodata_out(tmp_path, how):
    image, hole = blobs(200, 260), np.zeros((200, 260), bool)
    hole[:, 130:] = True
    hole[10:20, 10:20] = True
    if how == "value":
        image = np.where(image == 0, 1, image)    # 0 is for the hole
    source = write_with_hole(tmp_path/"in.tif", image, hole, how)
    model, out, chances = ByColour(), tmp_path/"map.tif", tmp_path/"p.tif"
    stretched = pytest.warns(UserWarning, match="2nd to their 98th") if how == "nan" else nullcontext()

    with stretched:
        result = segment(source, WORDS, out, model, 128, 16, probabilities=chances, progress=False)

    coded = read(out)
    np.testing.assert_array_equal(coded == 255, hole)
    with rasterio.open(chances) as src:
        np.testing.assert_array_equal(src.read() == 255, np.broadcast_to(hole, (3, *hole.shape)))
    if how != "nan":
        assert (map_to_labels(coded) == expected(image))[~hole].mean() > .9999
    assert result["nodata"] == pytest.approx(hole.mean())
    assert model.windows == 2, "of 2 x 2 blocks, the right ones begin at pixel 144"


def test_windows_of_16_bit_share_one_stretch(tmp_path):
    image = blobs().astype(np.uint16)*37
    image[:, :, :200] //= 3                       # the left part is darker: stretched by window it would not be
    source, maps = write(tmp_path/"in.tif", image), []

    for block_px in (128, 512):
        with pytest.warns(UserWarning, match="uint16 values are stretched"):
            segment(source, WORDS, tmp_path/"map.tif", ByColour(), block_px, 16, progress=False)
        maps.append(read(tmp_path/"map.tif"))

    assert (maps[0] == maps[1]).mean() > .9999
    assert len(np.unique(maps[0])) > 2


def test_plain_blocks_are_asked_once_for_each_colour_and_size(tmp_path):
    "A white border that somebody has said to be ground."
    image = blobs(300, 1500)
    image[:, :, 420:] = 255
    source, model, asked_all = write(tmp_path/"in.tif", image), ByColour(), ByColour()

    with pytest.MonkeyPatch.context() as patch:
        how = dict(progress=False, asked=Asked(Look(nodata="none")))
        segment(source, WORDS, tmp_path/"map.tif", model, 128, 16, probabilities=tmp_path/"p.tif", **how)
        patch.setattr("rs_zeroseg.use.blocks.is_plain", lambda image, valid: False)
        segment(source, WORDS, tmp_path/"every.tif", asked_all, 128, 16, probabilities=tmp_path/"every_p.tif", **how)

    for name in ("map", "p"):
        other = {"map": "every", "p": "every_p"}[name]
        assert (tmp_path/f"{name}.tif").read_bytes() == (tmp_path/f"{other}.tif").read_bytes()
    assert (map_to_labels(read(tmp_path/"map.tif")) == expected(image)).mean() > .9999
    assert model.windows < .7*asked_all.windows, "3 x 12 blocks, 3 x 7 of them white"


def test_a_full_disk_ends_the_run_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    "The thread that writes fails; the error is raised where the run was started."
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, content):
            raise OSError(28, "No space left on device")

    source, answer = write(tmp_path/"in.tif", blobs()), raster.answer_blocks
    full = lambda read, think, blocks, log: answer(read, think, blocks, {k: Full(f) for k, f in log.items()})  # noqa: E731

    with pytest.raises(OSError, match=r"map\.tif: could not be written \(No space left"):
        segment(source, WORDS, tmp_path/"map.tif", ByColour(), 128, 16, progress=False, answering=full)

    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.filterwarnings("error")
def test_pictures_without_georeference(tmp_path, suffix):
    image, source = blobs(90, 130), tmp_path/f"in.{suffix}"
    Image.fromarray(image.transpose(1, 2, 0)).save(source)

    segment(source, WORDS, tmp_path/"map.tif", ByColour(), 128, 16, progress=False)

    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path/"map.tif") as dst:
        assert dst.crs is None and dst.shape == (90, 130)
        coded = dst.read(1)
    if suffix == "png":
        np.testing.assert_array_equal(map_to_labels(coded), expected(image))


def test_more_than_254_words_are_uint16(tmp_path):
    words = [f"{r}/{g}/50" for r in range(1, 100, 6) for g in range(1, 100, 6)]
    image = np.full((3, 40, 40), 255*.5)
    image[:2] *= 2*.97
    source = write(tmp_path/"in.tif", np.rint(image).astype(np.uint8))

    segment(source, words, tmp_path/"map.tif", ByColour(), 128, 8, threshold=0, progress=False)

    with rasterio.open(tmp_path/"map.tif") as dst:
        assert len(words) == 289 and dst.dtypes == ("uint16",) and dst.nodata == 65535
        assert set(np.unique(dst.read(1))) == {289} and dst.tags(1)["word_289"] == "97/97/50"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_the_map_as_it_was_and_goes_on(tmp_path, error):
    source, out = write(tmp_path/"in.tif", blobs()), tmp_path/"map.tif"
    whole, rest = ByColour(), ByColour()

    def ask(model, name):
        chances = tmp_path/f"{name}_p.tif"
        segment(source, WORDS, tmp_path/f"{name}.tif", model, 128, 16, probabilities=chances, progress=False)

    (tmp_path/"map.tif").write_text("an older map")
    ask(whole, "whole")

    with pytest.raises(error):
        ask(Interrupted(error), "map")

    assert (tmp_path/"map.tif").read_text() == "an older map" and not (tmp_path/"map_p.tif").exists()
    kept = leftovers(out, "blocks")
    assert len(kept) == (error is KeyboardInterrupt)

    for folder in kept:
        with open(folder/"probabilities", "ab") as file:
            file.write(b"half a block")             # what a kill may leave
    source.rename(tmp_path/"away.tif")
    with pytest.raises(ValueError, match="no such file"):      # a disk that is not there today
        ask(rest, "map")
    assert leftovers(out, "blocks") == kept
    (tmp_path/"away.tif").rename(source)
    ask(rest, "map")

    assert rest.windows == whole.windows - 5*(error is KeyboardInterrupt) and not leftovers(out, "blocks")
    for name in ("", "_p"):
        assert (tmp_path/f"map{name}.tif").read_bytes() == (tmp_path/f"whole{name}.tif").read_bytes()


def test_an_interrupted_bench_promises_nothing():
    with pytest.raises(KeyboardInterrupt) as caught:
        bench_raster(Interrupted(KeyboardInterrupt), WORDS, 2000, progress=False)
    assert caught.value.args == ()


@pytest.mark.parametrize("change", ["words", "raster", "model", "threshold"])
def test_what_was_kept_for_another_request_is_not_used(tmp_path, change):
    source, out = write(tmp_path/"in.tif", blobs(), crs=None), tmp_path/"map.tif"     # 2 x 3 blocks
    words, model, threshold = WORDS, ByColour(), .5
    with pytest.raises(KeyboardInterrupt):
        segment(source, words, out, Interrupted(KeyboardInterrupt), 128, threshold=threshold, progress=False)

    if change == "words":
        words = WORDS[::-1]
    if change == "raster":
        write(source, blobs(seed=1), crs=None)
    if change == "model":
        model.extra = torch.nn.Parameter(torch.ones(1))
    if change == "threshold":
        threshold = .6
    segment(source, words, out, model, 128, threshold=threshold, progress=False)

    assert model.windows == 2*3


def test_two_bands_are_refused_by_name(tmp_path):
    source = write(tmp_path/"two.tif", blobs()[:2])

    with pytest.raises(ValueError, match=r"two\.tif: 2 band\(s\)"):
        segment(source, WORDS, tmp_path/"map.tif", ByColour(), progress=False)

    assert [p.name for p in tmp_path.iterdir()] == ["two.tif"]


def write_sparse(path, side):
    "A raster of tiles of 512 pixels, of which every fourth is drawn and the others hold no data."
    scene = make_scene(0, size=512).image.transpose(2, 0, 1).clip(1)
    profile = dict(width=side, height=side, count=3, dtype="uint8", nodata=0, **GEO)
    tiles = dict(tiled=True, blockxsize=512, blockysize=512, compress="deflate", sparse_ok=True)
    with rasterio.open(path, "w", driver="GTiff", **profile, **tiles) as dst:
        for n, (_, window) in enumerate(dst.block_windows(1)):
            if n % 4 == 0:
                dst.write(scene[:, :window.height, :window.width], window=window)
    return path


def test_memory_does_not_grow_with_the_raster(tmp_path):
    peaks = []
    for side in (2000, LARGE_PX):
        source = write_sparse(tmp_path/f"{side}.tif", side)
        asked = [sys.executable, "-c", PEAK, str(source), str(tmp_path/"map.tif")]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=os.path.dirname(__file__))
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
        source.unlink()

    print(f"peak at 2,000 x 2,000: {peaks[0]:.0f} MB, at {LARGE_PX:,} x {LARGE_PX:,}: {peaks[1]:.0f} MB")
    assert peaks[1] < peaks[0] + 100

"A raster in, a map out: georeference, seams, nodata, file kinds, many words, interruption."
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from rs_zeroseg.data import map_to_labels
from rs_zeroseg.raster import segment

GEO = dict(crs="EPSG:2154", transform=rasterio.Affine(.2, 0, 650_000, 0, -.2, 6_860_000))


class ByColour(torch.nn.Module):
    "Pointwise: word 'r/g/b' is a colour in percent; probability falls with the distance to it."
    threshold = .5
    windows = 0

    def encode_words(self, words): return torch.tensor([[int(v) / 100 for v in w.split("/")] for w in words])

    def encode_image(self, image):
        self.windows += 1
        return image

    def query(self, features, text_emb):
        distance = (features[:, None] - text_emb[None, :, :, None, None]).square().sum(2)
        return SimpleNamespace(probability=torch.exp(-4 * distance))


WORDS = ["90/10/10", "10/90/10", "10/10/90"]


def write(path, array, **profile):
    with rasterio.open(path, "w", driver="GTiff", count=array.shape[0], height=array.shape[1], width=array.shape[2], dtype=array.dtype, **GEO | profile) as dst:
        dst.write(array)
    return path


def blobs(height=301, width=420, seed=0):
    "A (3,H,W) uint8 patchwork of coarse random colours."
    coarse = np.random.default_rng(seed).integers(0, 256, (3, height // 10 + 1, width // 10 + 1), dtype=np.uint8)
    return coarse.repeat(10, 1).repeat(10, 2)[:, :height, :width]


def expected(image, threshold=.5):
    "The labels of the pointwise model, computed without windows."
    ref = np.array([[float(v) / 100 for v in w.split("/")] for w in WORDS])
    p = np.exp(-4 * ((image[None] / 255 - ref[:, :, None, None]) ** 2).sum(1))
    return np.where(p.max(0) >= threshold, p.argmax(0), -1)


@pytest.mark.parametrize("window_px,halo_px", [(512, 64), (128, 64), (96, 0), (70, 21)])
def test_georeference_is_kept_and_windows_do_not_show(tmp_path, window_px, halo_px):
    image = blobs()
    source = write(tmp_path / "in.tif", image)
    result = segment(source, WORDS, tmp_path / "map.tif", ByColour(), window_px, halo_px, progress=False)
    with rasterio.open(source) as src, rasterio.open(tmp_path / "map.tif") as dst:
        assert (dst.crs, dst.transform, dst.shape, dst.nodata) == (src.crs, src.transform, src.shape, 255)
        assert dst.compression.name == "deflate" and dst.block_shapes == [(256, 256)]
        assert dst.tags(1)["word_3"] == WORDS[2] and len({dst.colormap(1)[i] for i in range(4)}) == 4
        labels = map_to_labels(dst.read(1))
    assert (labels == expected(image)).mean() > .9999
    assert result["share"]["none"] == pytest.approx((labels == -1).mean())
    assert sum(result["share"].values()) == pytest.approx(1)


def test_a_map_of_a_crop_at_the_origin_is_a_crop_of_the_map(tmp_path):
    image = blobs(600, 600)
    for name, part in (("all", image), ("crop", image[:, :300, :300])):
        segment(write(tmp_path / f"{name}.tif", part), WORDS, tmp_path / f"{name}_map.tif", ByColour(), 100, 20, progress=False)
    with rasterio.open(tmp_path / "all_map.tif") as a, rasterio.open(tmp_path / "crop_map.tif") as b:
        assert (a.read(1)[:300, :300] == b.read(1)).mean() > .9999


@pytest.mark.parametrize("how", ["value", "alpha", "nan"])
def test_nodata_in_is_nodata_out(tmp_path, how):
    image, hole = blobs(200, 260), np.zeros((200, 260), bool)
    hole[:, 130:] = True; hole[10:20, 10:20] = True
    if how == "value":
        image = np.where(image == 0, 1, image)
        source = write(tmp_path / "in.tif", np.where(hole, 0, image).astype(np.uint8), nodata=0)
    elif how == "alpha":
        source = write(tmp_path / "in.tif", np.concatenate([image, np.where(hole, 0, 255).astype(np.uint8)[None]]), photometric="RGB", alpha="YES")
    else: source = write(tmp_path / "in.tif", np.where(hole, np.nan, image).astype(np.float32))
    model = ByColour()
    with pytest.warns(UserWarning, match="2nd to their 98th") if how == "nan" else _nothing():
        result = segment(source, WORDS, tmp_path / "map.tif", model, 64, 16, probabilities=tmp_path / "p.tif", progress=False)
    with rasterio.open(tmp_path / "map.tif") as dst, rasterio.open(tmp_path / "p.tif") as chances:
        coded = dst.read(1)
        np.testing.assert_array_equal(coded == 255, hole)
        np.testing.assert_array_equal(chances.read() == 255, np.broadcast_to(hole, (3, *hole.shape)))
    if how != "nan": assert (map_to_labels(coded) == expected(image))[~hole].mean() > .9999
    assert result["nodata"] == pytest.approx(hole.mean())
    assert model.windows == 4 * 3                # of 4 x 6 windows, the three columns that begin before pixel 130


def _nothing():
    from contextlib import nullcontext
    return nullcontext()


def test_windows_of_16_bit_share_one_stretch(tmp_path):
    image = blobs().astype(np.uint16) * 37
    image[:, :, :200] //= 3                       # the left part is darker: stretched by window it would not be
    source = write(tmp_path / "in.tif", image)
    maps = []
    for window_px in (64, 512):
        with pytest.warns(UserWarning, match="uint16 values are stretched"):
            segment(source, WORDS, tmp_path / "map.tif", ByColour(), window_px, 16, progress=False)
        with rasterio.open(tmp_path / "map.tif") as dst: maps.append(dst.read(1))
    assert (maps[0] == maps[1]).mean() > .9999 and len(np.unique(maps[0])) > 2


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.filterwarnings("error")
def test_pictures_without_georeference(tmp_path, suffix):
    Image.fromarray(blobs(90, 130).transpose(1, 2, 0)).save(tmp_path / f"in.{suffix}")
    segment(tmp_path / f"in.{suffix}", WORDS, tmp_path / "map.tif", ByColour(), 64, 16, progress=False)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "map.tif") as dst:
        assert dst.crs is None and dst.shape == (90, 130)
        if suffix == "png": np.testing.assert_array_equal(map_to_labels(dst.read(1)), expected(blobs(90, 130)))


def test_more_than_254_words_are_uint16(tmp_path):
    words = [f"{r}/{g}/50" for r in range(1, 100, 6) for g in range(1, 100, 6)]
    image = np.full((3, 40, 40), 255 * .5); image[0] *= 2 * .97; image[1] *= 2 * .97
    source = write(tmp_path / "in.tif", np.rint(image).astype(np.uint8))
    segment(source, words, tmp_path / "map.tif", ByColour(), 32, 8, threshold=0, progress=False)
    with rasterio.open(tmp_path / "map.tif") as dst:
        assert len(words) == 289 and dst.dtypes == ("uint16",) and dst.nodata == 65535
        assert set(np.unique(dst.read(1))) == {289} and dst.tags(1)["word_289"] == "97/97/50"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_the_folder_as_it_was(tmp_path, error):
    class Broken(ByColour):
        def encode_image(self, image):
            if self.windows == 5: raise error
            return super().encode_image(image)
    source = write(tmp_path / "in.tif", blobs())
    (tmp_path / "map.tif").write_text("an older map")
    with pytest.raises(error):
        segment(source, WORDS, tmp_path / "map.tif", Broken(), 64, 16, probabilities=tmp_path / "p.tif", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "map.tif"]
    assert (tmp_path / "map.tif").read_text() == "an older map"


def test_two_bands_are_refused_by_name(tmp_path):
    source = write(tmp_path / "two.tif", blobs()[:2])
    with pytest.raises(ValueError, match=r"two\.tif: 2 band\(s\)"): segment(source, WORDS, tmp_path / "map.tif", ByColour(), progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["two.tif"]

"What others find in the files of a map: GDAL, rasterio, rio-cogeo; whole or not at all; in memory that stays."
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rs_zeroseg.data.pocket import make_scene, write_scene
from rs_zeroseg.data.show import colours_for
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.use import layers
from rs_zeroseg.use.raster import segment

RASTER_PX = int(os.environ.get("RASTER_PX", 6000))   # side of the large raster; 20000 takes a minute or two
WORDS = ["water", "tree", "building", "road"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A folder with a pocket scene, its map and its probabilities."
    folder = tmp_path_factory.mktemp("layers")
    write_scene(make_scene(3, size=700), folder/"in.tif")
    segment(folder/"in.tif", WORDS, folder/"map.tif", load("pocket"), probabilities=folder/"p.tif", progress=False)
    return folder


@pytest.mark.parametrize("name", ["map.tif", "p.tif"])
def test_rio_cogeo_has_nothing_to_say(made, name):
    validate = pytest.importorskip("rio_cogeo").cog_validate

    assert validate(made/name, strict=True) == (True, [], [])


def test_a_map_says_what_it_is(made):
    with rasterio.open(made/"in.tif") as source, rasterio.open(made/"map.tif") as src:
        assert (src.crs, src.transform, src.shape, src.nodata) == (source.crs, source.transform, source.shape, 255)
        coded, tags, numbers, colours = src.read(1), src.tags(), src.tags(1), src.colormap(1)
        assert src.overviews(1) == [2, 4]
    assert json.loads(tags["words"]) == WORDS and [numbers[f"word_{i}"] for i in range(1, 5)] == WORDS
    assert tags["software"].startswith("rs_zeroseg ") and "rs-zeroseg" in tags["model"] and float(tags["threshold"]) > 0
    assert ["#{:02x}{:02x}{:02x}".format(*colours[i][:3]) for i in range(1, 5)] == colours_for(WORDS)
    assert float(numbers["STATISTICS_MEAN"]) == pytest.approx(coded.mean(), rel=1e-4)
    assert int(numbers["STATISTICS_MAXIMUM"]) == coded.max()


def test_probabilities_say_how_to_read_them(made):
    with rasterio.open(made/"p.tif") as src:
        chances, coded = src.read(), src.read(1)
        assert (src.count, src.descriptions, src.scales, src.offsets) == (4, tuple(WORDS), (1/254,)*4, (0,)*4)
        assert not {ColorInterp.red, ColorInterp.alpha} & set(src.colorinterp) and src.overviews(4) == [2, 4]
        assert "scale" in src.tags()["values"] and json.loads(src.tags()["words"]) == WORDS
        assert float(src.tags(1)["STATISTICS_MEAN"]) == pytest.approx(coded.mean(), rel=1e-4)
    with rasterio.open(made/"map.tif") as src:
        labels = src.read(1).astype(int)
    best, some = chances.max(0), (labels > 0) & (labels < 255)
    np.testing.assert_array_equal(np.take_along_axis(chances, labels[None] - 1, 0)[0][some], best[some])


def test_the_table_of_values_is_that_of_the_map(made):
    "As GDAL 3 reads an .aux.xml: names by position, a row per value."
    root = ElementTree.parse(made/"map.tif.aux.xml").getroot()
    names = [e.text for e in root.iter("Category")]
    rows = [[cell.text for cell in row.iter("F")] for row in root.iter("Row")]
    with rasterio.open(made/"map.tif") as src:
        counts = np.bincount(src.read(1).ravel(), minlength=5)

    assert names == [layers.NONE_NAME, *WORDS] == [row[2] for row in rows]
    assert [int(row[1]) for row in rows] == counts[:5].tolist()


def test_a_style_for_qgis(made):
    root = ElementTree.parse(made/"map.qml").getroot()
    classes = {e.get("label"): e.get("color") for e in root.iter("paletteEntry")}

    assert root.tag == "qgis" and classes == dict(zip(WORDS, colours_for(WORDS))) | {layers.NONE_NAME: "#d9d9d9"}


@pytest.mark.parametrize("name", ["side_xml", "to_cog", "pixel_counts"])
def test_a_map_is_written_whole_or_not_at_all(made, tmp_path, monkeypatch, name):
    "Whatever fails while the files are made, no file is left that looks like a map."
    def fails(*args, **kwargs):
        raise OSError("disk full")
    monkeypatch.setattr(layers, name, fails)

    out, chances = tmp_path/"map.tif", tmp_path/"p.tif"
    with pytest.raises(OSError, match=r"map\.tif: could not be written \(disk full\)"):
        segment(made/"in.tif", WORDS, out, load("pocket"), probabilities=chances, progress=False)

    assert list(tmp_path.iterdir()) == []


WRITE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np, rasterio
from rasterio.windows import Window
from rs_zeroseg.use.layers import layer_files, write_layers
n, folder = int(sys.argv[1]), Path(sys.argv[2])
like = SimpleNamespace(width=n, height=n, crs="EPSG:32631", transform=rasterio.Affine(.5, 0, 5e5, 0, -.5, 5e6))
block = np.random.default_rng(0).integers(0, 4, (32, 32), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
spans = [(at, min(512, n - at)) for at in range(0, n, 512)]
parts = ((1, Window(c, r, w, h), block[:h, :w]) for r, h in spans for c, w in spans)
with rasterio.Env(GDAL_CACHEMAX=64):
    write_layers(like, parts, ["water", "tree", "road"], layer_files(folder/f"{n}.tif"), threshold=.5, model="none")
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_raster(tmp_path):
    peaks = []
    for n in (1000, RASTER_PX):
        done = subprocess.run([sys.executable, "-c", WRITE, str(n), str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout)/1024)

    print(f"peak: {peaks[0]:.0f} MB for 1,000 px, {peaks[1]:.0f} MB for {RASTER_PX:,} px")
    assert peaks[1] < peaks[0] + 128, "64 MB of GDAL's cache, and what lies around it"


PLACES = {"EPSG:32631": (.5, 5e5, 5e6), "EPSG:2154": (.2, 650_000, 6_860_000), "EPSG:3857": (.6, 260_000, 6_250_000),
          "EPSG:4326": (5e-6, 2.35, 48.85), "EPSG:3031": (10, 1e6, 1e6), "EPSG:2263": (1, 984_000, 200_000)}   # feet


@pytest.mark.parametrize("crs", PLACES)
def test_hectares_are_those_of_a_geodesic_computation(crs, tmp_path, tif):
    "Each pixel's outline, measured on the ellipsoid by another library."
    pyproj = pytest.importorskip("pyproj")
    size, x, y = PLACES[crs]
    place = rasterio.Affine(size, 0, x, 0, -size, y)
    coded = np.random.default_rng(0).integers(0, 3, (40, 500), dtype=np.uint8)
    path = tif(tmp_path/"map.tif", coded[None], crs=crs, transform=place, nodata=255)
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corners = [(c, r) for c, r in ((0, 0), (500, 0), (500, 40), (0, 40))]
    outline = [to_degrees.transform(*(place @ corner)) for corner in corners]
    area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*zip(*outline))

    rows = layers.area_rows(path, ["water", "tree"])

    assert [row["pixels"] for row in rows] == np.bincount(coded.ravel()).tolist()
    for row in rows:
        assert row["hectares"]*1e4 == pytest.approx(abs(area)*row["pixels"]/coded.size, rel=5e-3)
        assert "not an estimate" in row["caveat"]


def test_without_a_place_there_are_pixels_and_no_hectares(tmp_path, tif):
    path = tif(tmp_path/"map.tif", np.ones((1, 5, 4), np.uint8), nodata=255)

    assert [(row["pixels"], row["hectares"]) for row in layers.area_rows(path, ["water"])] == [(0, None), (20, None)]

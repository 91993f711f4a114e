"The day's task: map, polygons, areas and page in one run; from arrays, from `rio`, from QGIS."
import csv
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from modules import module_at
from rasterio.windows import Window

import rs_zeroseg
from rs_zeroseg.data.pocket import make_scene, write_scene
from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.segmenter import ZeroShot
from rs_zeroseg.use.cli import zeroseg

WORDS = ["building", "water", "tree"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "A folder with a scene and a checkpoint."
    folder = tmp_path_factory.mktemp("segment")
    write_scene(make_scene(3, size=256), folder/"in.tif")
    model = load("pocket")
    save(ZeroShot(model.vlm, model.text), folder/"model")
    return folder


def read(path):
    with rasterio.open(path) as src:
        return src.read(1)


def test_one_command_does_the_days_task(work, run, tmp_path):
    "Map, polygons, areas, page: they agree, and each is read by the library that others use."
    geopandas = pytest.importorskip("geopandas")
    pyproj = pytest.importorskip("pyproj")
    names = {"--out": "map.tif", "--vector": "things.gpkg", "--areas": "areas.csv", "--preview": "look.html"}
    files = [part for option, name in names.items() for part in (option, tmp_path/name)]

    done = run("segment", work/"in.tif", "--words", ",".join(WORDS), *files, "--simplify", 0,
               "--checkpoint", work/"model", "--json")

    assert done.exit_code == 0, done.output
    told, coded = json.loads(done.stdout), read(tmp_path/"map.tif")
    assert {p.name for p in tmp_path.iterdir()} == {*names.values(), "map.qml", "map.tif.aux.xml"}
    assert (told["vector"], told["areas"]) == (str(tmp_path/"things.gpkg"), str(tmp_path/"areas.csv"))
    things = geopandas.read_file(tmp_path/"things.gpkg")
    rows = {row["word"]: row for row in csv.DictReader(open(tmp_path/"areas.csv", newline=""))}
    geod, shapes = pyproj.Geod(ellps="WGS84"), things.to_crs("EPSG:4326").geometry
    things["geodesic"] = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in shapes]
    for value, word in enumerate(WORDS, 1):
        of_word = things[things.word == word]
        assert of_word.pixels.sum() == (coded == value).sum() == int(rows[word]["pixels"])
        assert of_word.area_m2.sum() == pytest.approx(of_word.geodesic.sum(), rel=5e-3)
        assert float(rows[word]["hectares"]) == pytest.approx(of_word.geodesic.sum()/1e4, rel=5e-3, abs=1e-4)
    assert ((things.probability > told["threshold"] - .01) & (things.probability <= 1)).all()
    assert "data:image/png" in (tmp_path/"look.html").read_text(encoding="utf-8")


def test_the_layers_of_many_files_inside_an_area_at_another_gsd(work, run, tmp_path):
    "Tiles, of which a part is wanted, read at 1 m: the map has the pixels of the tiles, and its layers agree with it."
    geopandas = pytest.importorskip("geopandas")
    tiles = tmp_path/"tiles"
    tiles.mkdir()
    with rasterio.open(work/"in.tif") as src:
        for top, left in ((0, 0), (0, 128), (128, 0), (128, 128)):
            window = Window(left, top, 128, 128)
            place = dict(src.profile, width=128, height=128, transform=src.window_transform(window))
            with rasterio.open(tiles/f"{top}_{left}.tif", "w", **place) as dst:
                dst.write(src.read(window=window))
        t, crs = src.transform, src.crs
    left, top = t @ (40, 30)
    right, bottom = t @ (200, 210)
    area = f"{left},{bottom},{right},{top}"

    done = run("segment", tiles, "--words", ",".join(WORDS), "--out", tmp_path/"map.tif", "--aoi", area, "--gsd", "1",
               "--vector", tmp_path/"things.gpkg", "--simplify", 0, "--preview", tmp_path/"look.html",
               "--probabilities", tmp_path/"p.tif", "--checkpoint", work/"model", "--json")

    assert done.exit_code == 0, done.output
    told, coded = json.loads(done.stdout), read(tmp_path/"map.tif")
    assert (told["files"], told["seen_gsd_m"]) == (4, pytest.approx(1, rel=.01))
    with rasterio.open(tmp_path/"map.tif") as dst, rasterio.open(tmp_path/"p.tif") as chances:
        assert (dst.crs, dst.shape) == (chances.crs, chances.shape) == (crs, (180, 160))
        assert dst.transform.almost_equals(rasterio.Affine(t.a, 0, left, 0, t.e, top))
        best = chances.read().argmax(0) + 1
    kept = coded > 0
    assert told["nodata"] == 0 and (best[kept] == coded[kept]).mean() > .99
    things = geopandas.read_file(tmp_path/"things.gpkg")
    for value, word in enumerate(WORDS, 1):
        assert things[things.word == word].pixels.sum() == (coded == value).sum()
    assert (things.total_bounds >= (left - 1e-6, bottom - 1e-6)*2).all()
    assert (things.total_bounds <= (right + 1e-6, top + 1e-6)*2).all()


def test_a_killed_task_goes_on_and_gives_the_same(work, tmp_path, monkeypatch):
    pytest.importorskip("geopandas")
    model, seen = load(work/"model"), []
    encode = type(model).encode_image

    def counted(self, image):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return encode(self, image)

    def ask(name):
        rs_zeroseg.segment(work/"in.tif", WORDS, tmp_path/f"{name}.tif", model, areas=tmp_path/f"{name}.csv",
                           vector=tmp_path/f"{name}.parquet", block_px=128, progress=False)
    ask("whole")
    monkeypatch.setattr(type(model), "encode_image", counted)

    with pytest.raises(KeyboardInterrupt):
        ask("killed")
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".tif", ".csv", ".parquet") and p.stem == "killed"]
    ask("killed")

    for ending in ("tif", "csv", "parquet"):
        assert (tmp_path/f"killed.{ending}").read_bytes() == (tmp_path/f"whole.{ending}").read_bytes()


def test_whole_or_not_at_all(work, tmp_path, monkeypatch):
    "An error in the last layer leaves no other."
    def fails(*args):
        raise OSError("disk full")
    monkeypatch.setattr("rs_zeroseg.use.segment.write_preview", fails)

    with pytest.raises(OSError, match="disk full"):
        rs_zeroseg.segment(work/"in.tif", WORDS, tmp_path/"map.tif", load(work/"model"), areas=tmp_path/"a.csv",
                           preview=tmp_path/"p.html", progress=False)

    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_told_before_the_work(work, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)

    done = run("segment", work/"in.tif", "--words", "tree", "--out", tmp_path/"map.tif",
               "--vector", tmp_path/"t.gpkg", "--checkpoint", work/"model")

    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "this needs pyogrio" in done.stderr and 'pip install -e ".[gis]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a;b.gpkg", "a!b.gpkg"])
def test_a_name_that_would_be_cut_is_refused_before_the_work(work, run, tmp_path, name):
    pytest.importorskip("geopandas")

    done = run("segment", work/"in.tif", "--words", "tree", "--out", tmp_path/"map.tif", "--vector", tmp_path/name,
               "--checkpoint", work/"model")

    assert done.exit_code == 2 and "cannot be in the name of a GeoPackage" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_as_they_went(work, tmp_path):
    "numpy in both layouts, and the labels are those of the same picture as a file."
    model, image = load(work/"model"), make_scene(3, size=256).image
    with rasterio.open(work/"in.tif") as src, rasterio.open(
            tmp_path/"plain.tif", "w", **dict(src.profile, crs=None, transform=rasterio.Affine.identity())) as dst:
        dst.write(src.read())
    rs_zeroseg.segment(tmp_path/"plain.tif", WORDS, tmp_path/"map.tif", model, progress=False)

    found = [rs_zeroseg.segment(array, WORDS, model=model)
             for array in (image, image.transpose(2, 0, 1), image/255)]

    for coded in found:
        np.testing.assert_array_equal(coded, read(tmp_path/"map.tif"))
    holed = image/255
    holed[:100, :100] = np.nan
    coded = rs_zeroseg.segment(holed, WORDS, model=model)
    assert (coded[:100, :100] == 255).all() and (coded == found[0])[164:, 164:].all(), "read as without a hole"
    with pytest.raises(ValueError, match=r"an array of shape \(256, 256\)"):
        rs_zeroseg.segment(image[..., 0], WORDS, model=model)


@pytest.mark.parametrize("order", [("band", "y", "x"), ("y", "x", "band")])
def test_xarray_keeps_its_coordinates(work, order, tmp_path):
    xarray = pytest.importorskip("xarray")
    model = load(work/"model")
    with rasterio.open(work/"in.tif") as src:
        t, wkt, array = src.transform, src.crs.to_wkt(), src.read()
    axes = dict(y=t.f + t.e*(np.arange(256) + .5), x=t.c + t.a*(np.arange(256) + .5))
    where = xarray.Variable((), 0, dict(crs_wkt=wkt))
    data = xarray.DataArray(array, dims=("band", "y", "x"), coords=axes).assign_coords(spatial_ref=where)
    rs_zeroseg.segment(work/"in.tif", WORDS, tmp_path/"map.tif", model, progress=False)
    data.encoding["_FillValue"] = 300                            # for numbers of the image, not for those of the map

    made = rs_zeroseg.segment(data.transpose(*order), WORDS, model=model)

    assert made.encoding == {} and made.dims == ("y", "x")
    assert made.attrs["words"] == WORDS and "spatial_ref" in made.coords
    np.testing.assert_array_equal(made.values, read(tmp_path/"map.tif"))
    np.testing.assert_array_equal(made.x, data.x)


# ---- arrays whose pixels or bands say more than their numbers

PIXELS = make_scene(3, size=128).image.transpose(2, 0, 1)      # (3,128,128)
INSIDE = slice(40, 60), slice(50, 90)                          # does not touch the edge


@pytest.fixture(scope="module")
def labels():
    "The map of an array by the pocket model."
    model = load("pocket")

    def ask(array):
        return np.asarray(rs_zeroseg.segment(array, WORDS, model=model))
    return ask


def masked(array):
    "An array that is masked inside, over numbers that look like any others."
    mask = np.zeros(array.shape, bool)
    mask[(slice(None), *INSIDE)] = True
    return np.ma.array(array, mask=mask)


def as_xarray(array, key, value, *, of_file):
    "An xarray object with a value inside that its attributes, or the encoding of its file, name as nodata."
    xarray = pytest.importorskip("xarray")
    array = array.copy()
    array[(slice(None), *INSIDE)] = value
    data = xarray.DataArray(array, dims=("band", "y", "x"))
    (data.encoding if of_file else data.attrs)[key] = value
    return data


HOLED = {"mask": lambda: masked(PIXELS), "mask, bands last": lambda: masked(PIXELS).transpose(1, 2, 0),
         "mask of fractions": lambda: masked(PIXELS/255),
         "NaN": lambda: masked(PIXELS/255).filled(np.nan),
         "16-bit NaN": lambda: masked(PIXELS.astype(np.float16)).filled(np.nan),
         "_FillValue": lambda: as_xarray(PIXELS, "_FillValue", 9, of_file=False),
         "nodata": lambda: as_xarray(PIXELS.astype(np.float32), "nodata", -9.3, of_file=False),
         "missing_value": lambda: as_xarray(PIXELS, "missing_value", np.array([9], np.uint8), of_file=False),
         "_FillValue of the file": lambda: as_xarray(PIXELS/255, "_FillValue", -1, of_file=True)}


@pytest.mark.parametrize("kind", HOLED)
def test_what_an_array_says_is_no_data_is_none_in_the_map(labels, kind):
    wanted = np.zeros((128, 128), bool)
    wanted[INSIDE] = True

    np.testing.assert_array_equal(labels(HOLED[kind]()) == 255, wanted)


def test_a_value_that_one_band_holds_is_a_colour(labels):
    "As in a file, only 9 in all bands is nothing. Numbers that were scaled are no longer those of the file."
    array = PIXELS.copy()
    array[0, 0] = 9
    assert not (labels(as_xarray(array, "_FillValue", 9, of_file=False))[0] == 255).any()
    scaled = as_xarray(PIXELS, "_FillValue", 9, of_file=True)
    scaled.encoding["scale_factor"] = .5

    assert not (labels(scaled) == 255).any()


def test_nodata_of_an_array_that_is_no_number_is_refused(labels):
    xarray = pytest.importorskip("xarray")

    with pytest.raises(ValueError, match="nodata of the array, black: give a number in its attrs"):
        labels(xarray.DataArray(PIXELS, dims=("band", "y", "x"), attrs=dict(nodata="black")))


@pytest.mark.parametrize("names", [["B02", "B03", "B04", "B08"], ["blue", "green", "red", "nir"]])
@pytest.mark.parametrize("by", ["coordinate", "long_name"])
def test_the_bands_of_an_xarray_object_are_found_by_their_names(labels, names, by):
    xarray = pytest.importorskip("xarray")
    four = np.concatenate([PIXELS[::-1], np.where(PIXELS[:1] > 90, 255, 0).astype(np.uint8)])     # infrared, no alpha
    data = xarray.DataArray(four, dims=("band", "y", "x"))
    data = data.assign_coords(band=names) if by == "coordinate" else data.assign_attrs(long_name=tuple(names))

    np.testing.assert_array_equal(labels(data), labels(PIXELS))
    assert (labels(data.drop_vars("band", errors="ignore").assign_attrs(long_name="town")) != labels(PIXELS)).any()


def test_a_fourth_band_of_bytes_is_alpha_if_it_looks_like_it(labels):
    "Nearly all values 0 or the largest: a mask. Many values: near infrared. The same as fractions; not in 16 bits."
    alpha = np.full((1, 128, 128), 255, np.uint8)
    alpha[(0, *INSIDE)] = 0
    masked_four, infrared = np.concatenate([PIXELS, alpha]), np.concatenate([PIXELS, PIXELS[:1]//2])
    wanted = alpha[0] == 0

    for array in (masked_four, masked_four.transpose(1, 2, 0), masked_four/255):
        np.testing.assert_array_equal(labels(array) == 255, wanted)
    np.testing.assert_array_equal(labels(infrared), labels(PIXELS))
    assert not (labels(masked_four.astype(np.uint16)) == 255).any()
    np.testing.assert_array_equal(labels(np.concatenate([PIXELS, 0*alpha])), labels(PIXELS))


def test_a_band_that_is_named_alpha_is_one(labels):
    xarray = pytest.importorskip("xarray")
    alpha = np.full((1, 128, 128), 255, np.uint8)
    alpha[(0, *INSIDE)] = 0
    data = xarray.DataArray(np.concatenate([alpha, PIXELS]), dims=("band", "y", "x"))

    found = labels(data.assign_coords(band=["Alpha", "red", "green", "blue"]))

    np.testing.assert_array_equal(found == 255, alpha[0] == 0)


@pytest.mark.parametrize("kind", ["float16", "float64", "longdouble", "int16", ">u2", "uint64", "int64"])
def test_numbers_of_every_type_give_the_same_labels(labels, kind):
    np.testing.assert_array_equal(labels(PIXELS.astype(kind)), labels(PIXELS.astype(np.float32)))


@pytest.mark.parametrize("kind", ["bool", "complex64", "object"])
def test_what_is_no_number_is_refused(labels, kind):
    with pytest.raises(ValueError, match=f"an array of {kind}: give red, green and blue as uint8"):
        labels(PIXELS.astype(kind))


# ---- rio

def test_rio_zeroseg_is_segment(work, tmp_path):
    from rasterio.rio.main import main_group
    main_group.add_command(zeroseg)
    ask = ["zeroseg", str(work/"in.tif"), "--words", "tree,water", "--checkpoint", str(work/"model")]

    done = CliRunner().invoke(main_group, [*ask, "--out", str(tmp_path/"map.tif"), "--json"])
    lost = CliRunner().invoke(main_group, [*ask[:1], "nowhere.tif", *ask[2:], "--out", str(tmp_path/"no.tif")])

    assert done.exit_code == 0 and json.loads(done.stdout)["words"] == ["tree", "water"]
    assert (lost.exit_code, lost.stderr.strip()) == (2, "Error: nowhere.tif: no such file")


def test_the_entry_point_leads_to_it():
    text = (Path(__file__).parent.parent/"setup.py").read_text(encoding="utf-8")

    assert "rasterio.rio_plugins" in text and "use.cli:zeroseg" in text and zeroseg.name == "zeroseg"


# ---- QGIS, without QGIS

class Parameter:
    "Any QgsProcessingParameter...: it keeps what it was given."
    Double, Integer, TypeVectorPolygon = "double", "integer", "polygon"

    def __init__(self, name, *args):
        self.name, self.args = name, args


class Algorithm:
    "What the script uses of QgsProcessingAlgorithm."
    def __init__(self):
        self.parameters = []

    def addParameter(self, parameter):
        self.parameters.append(parameter)

    def parameterAsRasterLayer(self, given, name, context):
        return types.SimpleNamespace(source=lambda: given[name])

    def parameterAsString(self, given, name, context):
        return given[name]
    parameterAsOutputLayer = parameterAsInt = parameterAsDouble = parameterAsString


class Feedback:
    "Collects what QGIS would show."
    def __init__(self):
        self.lines, self.cancelled = [], False

    def pushInfo(self, line):
        self.lines.append(line)

    def isCanceled(self):
        return self.cancelled


@pytest.fixture
def script(monkeypatch):
    "The Processing script over a fake `qgis`."
    core = types.ModuleType("qgis.core")
    core.QgsProcessingAlgorithm, core.QgsProcessing = Algorithm, Parameter
    core.QgsProcessingException = type("QgsProcessingException", (Exception,), {})
    for kind in ("Number", "RasterDestination", "RasterLayer", "String", "VectorDestination"):
        setattr(core, f"QgsProcessingParameter{kind}", Parameter)
    monkeypatch.setitem(sys.modules, "qgis", types.ModuleType("qgis"))
    monkeypatch.setitem(sys.modules, "qgis.core", core)
    return module_at(Path(__file__).parent.parent/"tools"/"qgis"/"rs_zeroseg_segment.py")


def program(tmp_path, code):
    "A program that does `code` with its arguments in `args`."
    path = tmp_path/"program"
    path.write_text(f"#!{sys.executable}\nimport sys\nargs = sys.argv[1:]\n{code}\n")
    path.chmod(0o755)
    return str(path)


def given(tmp_path, **changes):
    "Parameters as QGIS hands them over."
    return dict(INPUT="in.tif", WORDS="road,tennis court", THRESHOLD=None, SHIFTS=2, MIN_AREA=5.0, OUTPUT="map.tif",
                VECTOR=None, PROGRAM=program(tmp_path, "print('done', *args, sep='|')")) | changes


def test_every_parameter_that_qgis_is_told_of_is_read(script, tmp_path):
    algorithm = script.SegmentByWords().createInstance()
    algorithm.initAlgorithm()
    assert {p.name for p in algorithm.parameters} == set(given(tmp_path))
    assert algorithm.name() and algorithm.displayName() and algorithm.shortHelpString()


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script with a first line")
def test_qgis_calls_the_command_line_that_there_is(script, tmp_path):
    "Its arguments are understood by the real command."
    feedback, asked = Feedback(), given(tmp_path, THRESHOLD=.25, VECTOR="t.gpkg")

    made = script.SegmentByWords().processAlgorithm(asked, None, feedback)

    assert made == {"OUTPUT": "map.tif", "VECTOR": "t.gpkg"}
    _, name, *args = feedback.lines[-1].split("|")
    with zeroseg.make_context(name, args) as context:
        read = context.params
    assert (name, read["words"], read["images"], read["shifts"]) == ("segment", "road,tennis court", ("in.tif",), 2)
    assert (read["threshold"], str(read["vector"]), read["min_area_m2"]) == (.25, "t.gpkg", 5)


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script with a first line")
def test_qgis_is_told_why_it_failed(script, tmp_path):
    asked = given(tmp_path)
    fails = program(tmp_path, "print('Error: in.tif: no such file', file=sys.stderr)\nsys.exit(2)")

    for wanted, name in (("in.tif: no such file", fails), ("could not be started", str(tmp_path/"none"))):
        with pytest.raises(script.QgsProcessingException, match=wanted):
            script.SegmentByWords().processAlgorithm(asked | dict(PROGRAM=name), None, Feedback())

"Polygons of a map: whole over tiles, without gaps and overlaps, areas as others compute them."
import numpy as np
import pytest
import rasterio

geopandas = pytest.importorskip("geopandas")
pytest.importorskip("pyogrio")
import pyproj  # noqa: E402
import shapely  # noqa: E402

from rs_zeroseg.use.layers import area_rows  # noqa: E402
from rs_zeroseg.use.vector import polygons, write_vector  # noqa: E402

WORDS = ["water", "tree", "building"]
PLACES = {"EPSG:32631": (.5, 5e5, 5e6), "EPSG:3857": (.6, 260_000, 6_250_000), "EPSG:4326": (5e-6, 2.35, 48.85)}


def drawn(seed, height=300, width=260):
    "(height,width) values 0 to 3 and 255: blobs, a river over everything, speckle."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    coded = np.full((height, width), 2, np.uint8)
    for _ in range(25):
        row, column, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(4, 40)
        coded[(x - column)**2 + (y - row)**2 < radius**2] = rng.choice([0, 1, 2, 3, 255])
    coded[np.abs(y - height/2 - 40*np.sin(x/30)) < 9] = 1
    specks = rng.random((height, width)) < .01
    coded[specks] = rng.integers(0, 4, specks.sum())
    return coded


@pytest.fixture
def written(tmp_path, tif):
    "A function that writes a map and its probabilities."
    def write(coded, crs="EPSG:32631", chance=None):
        size, x, y = PLACES[crs]
        place = dict(crs=crs, transform=rasterio.Affine(size, 0, x, 0, -size, y))
        chance = np.full_like(coded, 254) if chance is None else chance
        return [tif(tmp_path/name, values[None], **place) for name, values in (("map.tif", coded), ("c.tif", chance))]
    return write


def outline_sum(frame):
    "Every polygon as text, whatever its ring begins with."
    return sorted(shapely.to_wkt(shapely.normalize(g)) for g in frame.geometry)


@pytest.mark.parametrize("seed", range(3))
def test_tiles_do_not_show(written, seed):
    "Along the pixels the polygons are the same for every size of the tiles, with their pixels and probabilities."
    coded = drawn(seed)
    paths = written(coded, chance=np.random.default_rng(seed).integers(0, 255, coded.shape, dtype=np.uint8))
    whole = polygons(*paths, WORDS, simplify_px=0)

    for tile_px in (32, 77, 128):
        tiled = polygons(*paths, WORDS, simplify_px=0, tile_px=tile_px)
        assert outline_sum(tiled) == outline_sum(whole)
        for name in ("area_m2", "pixels", "probability"):
            assert sorted(tiled[name]) == pytest.approx(sorted(whole[name]))
    assert whole.groupby("value").pixels.sum().to_dict() == {v: (coded == v).sum() for v in (1, 2, 3)}
    river = whole.loc[whole[whole.value == 1].pixels.idxmax()]
    assert river.geometry.bounds[2] - river.geometry.bounds[0] == 130, "one polygon from edge to edge"


@pytest.mark.parametrize("simplify_px", [1, 3])
def test_simplified_neighbours_have_no_gaps_and_no_overlaps(written, simplify_px):
    coded = np.maximum(drawn(4), 1)                                        # no 0; 255 becomes 1
    coded[coded == 255] = 1
    frame = polygons(*written(coded), WORDS, simplify_px=simplify_px, tile_px=128)

    total = shapely.union_all(frame.geometry).area
    assert frame.geometry.is_valid.all() and (frame.geometry.geom_type == "Polygon").all()
    assert frame.geometry.area.sum() == pytest.approx(coded.size/4, rel=1e-9) == pytest.approx(total, rel=1e-9)
    along = polygons(*written(coded), WORDS, simplify_px=0)
    assert len(frame) == len(along)
    assert shapely.get_num_coordinates(frame.geometry).sum() < .7*shapely.get_num_coordinates(along.geometry).sum()


@pytest.mark.parametrize("crs", PLACES)
def test_areas_agree_with_a_geodesic_computation(written, crs, tmp_path):
    paths = written(drawn(1), crs)
    write_vector(*paths, tmp_path/"map.gpkg", WORDS)
    frame = geopandas.read_file(tmp_path/"map.gpkg")
    geod = pyproj.Geod(ellps="WGS84")

    geodesic = [abs(geod.geometry_area_perimeter(g)[0]) for g in frame.to_crs("EPSG:4326").geometry]

    assert frame.area_m2.to_numpy() == pytest.approx(np.array(geodesic), rel=5e-3, abs=1e-3)
    hectares = {row["word"]: row["hectares"] for row in area_rows(paths[0], WORDS)}
    for word, area in polygons(*paths, WORDS, simplify_px=0).groupby("word").area_m2.sum().items():
        assert area/1e4 == pytest.approx(hectares[word], rel=5e-3, abs=1e-4), "the table and the polygons agree"


def test_the_probability_is_the_mean_over_the_pixels(written):
    coded = np.zeros((60, 90), np.uint8)
    coded[10:50, 20:80] = 3
    chance = np.zeros((60, 90), np.uint8)
    chance[10:30, 20:80] = 254
    chance[:5] = 200

    frame = polygons(*written(coded, chance=chance), WORDS, simplify_px=0, tile_px=32)

    (thing,) = frame.itertuples()
    assert (thing.word, thing.pixels, thing.probability) == ("building", 2400, .5)


def test_small_things_are_left_out_by_their_area(written):
    coded = np.zeros((60, 90), np.uint8)
    coded[10:14, 10:14], coded[20:30, 20:30] = 1, 1

    paths = written(coded)

    assert [len(polygons(*paths, WORDS, least, 0, 32)) for least in (0, 5, 30)] == [2, 1, 0]


def test_what_a_gis_reads(written, tmp_path):
    paths = written(drawn(2))
    for name, read in (("t.gpkg", geopandas.read_file), ("t.parquet", geopandas.read_parquet)):
        n = write_vector(*paths, tmp_path/name, WORDS)
        frame = read(tmp_path/name)
        with rasterio.open(paths[0]) as src:
            assert frame.crs.to_epsg() == src.crs.to_epsg()
            left, bottom, right, top = frame.total_bounds
            assert src.bounds.left <= left and right <= src.bounds.right and top <= src.bounds.top
        assert len(frame) == n and set(frame.word) == set(WORDS)
        assert [*frame.columns] == ["word", "value", "area_m2", "probability", "pixels", "geometry"]


def test_without_a_place(tmp_path, tif):
    "Polygons in pixels, areas unknown; a smallest area leaves nothing out and says so."
    coded = drawn(0)
    paths = [tif(tmp_path/name, coded[None]) for name in ("map.tif", "c.tif")]

    frame = polygons(*paths, WORDS)

    assert frame.crs is None and frame.area_m2.isna().all() and len(frame) > 10
    with pytest.warns(UserWarning, match="no area in m2 is known, and things below 5 m2 are not left out"):
        assert len(polygons(*paths, WORDS, min_area_m2=5)) == len(frame)


@pytest.mark.parametrize("name", ["gpkg_contents", "GPKG_x", "gpkg", "sqlite_x", "rtree_a_geom", "-a", ".a"])
def test_a_file_may_have_a_name_that_no_layer_may_have(written, tmp_path, name):
    out = tmp_path/f"{name}.gpkg"

    n = write_vector(*written(drawn(1)), out, WORDS)

    assert len(geopandas.read_file(out)) == n > 0
    assert geopandas.list_layers(out).name.tolist() == [f"map_{name}"]

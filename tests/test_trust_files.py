"""Files of strangers open as pictures or not at all, and nothing else is read, asked or deleted for them.

Every secret is one that the test has planted: GDAL deletes what a file names when that file is written over."""
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from rs_zeroseg.data.imagery import ALONE, MOST_PIXELS, PICTURES, open_raster, read_image, strangers_files
from rs_zeroseg.data.pocket import make_scene, write_scene
from rs_zeroseg.use.explore import AttentionExplorer
from rs_zeroseg.use.widgets import MOST_BYTES

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SIDE = 64
GREY = np.full((3, SIDE, SIDE), 99, np.uint8)
RAW_BAND = ('<VRTRasterBand dataType="Byte" band="{}" subClass="VRTRawRasterBand"><SourceFilename>{}</SourceFilename>'
            '<PixelOffset>1</PixelOffset><LineOffset>64</LineOffset></VRTRasterBand>')
SIMPLE_BAND = ('<VRTRasterBand dataType="Byte" band="{0}"><SimpleSource><SourceFilename>{1}</SourceFilename>'
               '<SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>')
WMS = ('<GDAL_WMS><Service name="TMS"><ServerUrl>{}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
       '<UpperLeftX>-1</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>-1</LowerRightY>'
       '<TileLevel>1</TileLevel></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>')


def vrt(band, source):
    "A VRT of three bands that are read from `source`."
    bands = "".join(band.format(i, source) for i in (1, 2, 3))
    return f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{bands}</VRTDataset>'.encode()


def naming_tif(path, overview):
    "A GeoTIFF that says that its overview is the file `overview`; its content."
    profile = dict(driver="GTiff", count=3, width=1024, height=1024, dtype="uint8", tiled=True, compress="deflate")
    with rasterio.open(path, "w", **profile) as dst:
        dst.write(np.zeros((3, 1024, 1024), np.uint8))
        dst.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(overview))
    return path.read_bytes()


def large_tif(path, side, count=3, dtype="uint8", block=4096):
    "A GeoTIFF without pixels, of many; its content."
    profile = dict(driver="GTiff", count=count, width=side, height=side, dtype=dtype, SPARSE_OK=True)
    with rasterio.open(path, "w", tiled=True, blockxsize=block, blockysize=block, **profile):
        pass
    return path.read_bytes()


@pytest.fixture
def secret(tmp_path, tif):
    "Files of the server that nobody has given."
    folder = tmp_path/"server"
    folder.mkdir()
    (folder/"secret.bin").write_bytes(b"SECRET"*2000)
    tif(folder/"secret.tif", np.full((3, 512, 512), 77, np.uint8))
    return folder


@pytest.fixture
def asked():
    "(address, list of callers) of a listener on this machine."
    callers, server = [], socket.create_server(("127.0.0.1", 0))

    def listen():
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            callers.append(caller.recv(200))
            caller.close()
    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def hostile(kind, folder, secret, address):
    "What a stranger may upload as photo.tif."
    makers = {
        "vrt of a file": lambda: vrt(RAW_BAND, secret/"secret.bin"),
        "vrt of an image": lambda: vrt(SIMPLE_BAND, secret/"secret.tif"),
        "vrt of an address": lambda: vrt(SIMPLE_BAND, f"/vsicurl/{address}/a.tif"),
        "wms": lambda: WMS.format(address).encode(),
        "overview in a file": lambda: naming_tif(folder/"a.tif", secret/"secret.tif"),
        "overview at an address": lambda: naming_tif(folder/"a.tif", f"/vsicurl/{address}/a.tif"),
        "sparse": lambda: large_tif(folder/"a.tif", 200_000),
        "many pixels": lambda: large_tif(folder/"a.tif", 24_576),
        "many bands": lambda: large_tif(folder/"a.tif", 4096, 64, block=256),
        "wide numbers": lambda: large_tif(folder/"a.tif", 8192, 3, "float64"),
    }
    return makers[kind]()


KINDS = {
    "vrt of a file": "not an image", "vrt of an image": "not an image", "vrt of an address": "not an image",
    "wms": "not an image", "overview in a file": "names another file", "overview at an address": "names another file",
    "sparse": "200000 x 200000 pixels", "many pixels": "24576 x 24576 pixels", "many bands": "4096 x 4096 pixels",
    "wide numbers": "1611 MB",
}


def send(explorer, content, name="photo.tif"):
    "Upload a file, as the browser does."
    for at in range(0, len(content), 10**6):
        piece = content[at:at + 10**6]
        explorer.upload.take(dict(name=name, at=at, last=at + len(piece) == len(content)), [piece])


@pytest.fixture(scope="module")
def page():
    "An explorer for strangers."
    return AttentionExplorer(files=False)


# ---- what is refused

@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_upload_is_refused(kind, page, tmp_path, secret, asked):
    page.source.value = "1000003"
    content = hostile(kind, tmp_path, secret, asked[0])
    assert len(content) < 10**6

    send(page, content)

    assert "photo.tif: " in page.message.value
    assert KINDS[kind] in page.message.value
    assert page.sight.source == "1000003"
    assert not list(Path(page.uploads.folder.name).iterdir())
    assert asked[1] == []


@pytest.mark.parametrize("beside", ["a.tif.ovr", "a.tif.msk", "a.tif.aux.xml", "a.tfw"])
def test_what_lies_beside_a_strangers_file_is_not_read(beside, tmp_path, tif, secret):
    path = tif(tmp_path/"a.tif", np.zeros((3, 512, 512), np.uint8))
    contents = {
        "a.tif.ovr": lambda p: tif(p.with_suffix(".tif"), np.full((3, 256, 256), 77, np.uint8)).rename(p),
        "a.tif.msk": lambda p: tif(p.with_suffix(".tif"), np.zeros((1, 512, 512), np.uint8)).rename(p),
        "a.tif.aux.xml": lambda p: p.write_text("<PAMDataset><Metadata><MDI key='A'>77</MDI></Metadata></PAMDataset>"),
        "a.tfw": lambda p: p.write_text("0.5\n0\n0\n-0.5\n77\n77\n"),
    }
    (tmp_path/"made").mkdir()
    contents[beside](tmp_path/"made"/beside)
    (tmp_path/"made"/beside).rename(tmp_path/beside)

    with open_raster(path) as src:
        own = src.files
    with strangers_files(), open_raster(path) as src:
        strangers = src.files
        pixels = src.read([1, 2, 3], out_shape=(3, 256, 256))

    assert str(tmp_path/beside) in own
    assert strangers == [str(path)]
    assert not pixels.any()


@pytest.mark.parametrize("name", ["a.tif", "a.none", "none"])
def test_gdal_asks_no_address(name, asked):
    "Whatever a file may name that we did not think of."
    with rasterio.Env(**ALONE), pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(f"/vsicurl/{asked[0]}/{name}")

    assert asked[1] == []


def test_the_browser_cannot_raise_the_limit(page):
    page.source.value = "1000003"
    page.upload.set_state(dict(most=10**12))

    for at in range(0, MOST_BYTES + 10**6, 10**6):
        page.upload.take(dict(name="a.tif", at=at, last=False), [b"\0"*10**6])

    assert "a.tif: at most 64 MB" in page.upload.said
    assert "a.tif: at most 64 MB" in page.message.value
    assert len(page.upload.content) <= 10**6


# ---- what is not lost

def test_an_upload_called_scene_tif_deletes_nothing(page, tmp_path, secret):
    "The map of a scene begins with a file of that name."
    page.source.value = "1000003"
    send(page, naming_tif(tmp_path/"a.tif", secret/"secret.tif"), "scene.tif")
    page.source.value = "1000004"

    page.buttons["save map"].click()

    assert "download='map.tif'" in page.message.value
    assert (secret/"secret.tif").exists()


def test_gdal_deletes_what_an_overwritten_file_names(tmp_path, secret, tif):
    "Why uploads lie where nothing is ever written. If this fails, GDAL has mended its ways."
    naming_tif(tmp_path/"scene.tif", secret/"secret.tif")

    tif(tmp_path/"scene.tif", GREY)

    assert not (secret/"secret.tif").exists()


# ---- what works as before

@pytest.mark.parametrize("driver", PICTURES)
def test_a_strangers_picture_opens(driver, tmp_path, tif):
    path = tif(tmp_path/"picture", GREY, driver=driver)

    with strangers_files():
        image = read_image(path)

    assert image.shape == (3, SIDE, SIDE)
    assert abs(image - 99/255).max() < .02


def test_the_map_of_an_upload_is_the_map_of_the_file(tmp_path, page):
    scene = Path(write_scene(make_scene(9, size=200), tmp_path/"mine.tif"))
    own = AttentionExplorer(files=False)
    own.files = True                                   # its analyst names the file
    own.source.value = str(scene)

    send(page, scene.read_bytes(), "mine.tif")
    for explorer in (own, page):
        explorer.words.value = "road, tree"
    own.files = False
    for explorer in (own, page):
        explorer.buttons["save map"].click()
        assert "download" in explorer.message.value

    maps = [rasterio.open(Path(e.folder.name)/"map.tif") for e in (own, page)]
    assert np.array_equal(*(src.read() for src in maps))
    assert maps[0].profile == maps[1].profile
    assert maps[0].tags(1) == maps[1].tags(1)


def test_the_analysts_command_opens_all_that_gdal_opens(tmp_path, tif, run):
    scene = tif(tmp_path/"a.tif", make_scene(3, size=SIDE).image.transpose(2, 0, 1))
    (tmp_path/"a.vrt").write_bytes(vrt(SIMPLE_BAND, scene))
    Image.fromarray(make_scene(3, size=SIDE).image).save(tmp_path/"a.bmp")

    for name in ("a.vrt", "a.bmp"):
        told = run("segment", tmp_path/name, "--words", "road,tree", "--out", tmp_path/f"{name}.tif")
        assert told.exit_code == 0, told.output

    maps = [rasterio.open(tmp_path/f"{name}.tif").read() for name in ("a.vrt", "a.bmp")]
    assert np.array_equal(*maps)


def test_a_file_of_an_analyst_may_be_of_any_size(tmp_path):
    large_tif(tmp_path/"a.tif", 24_576)

    with open_raster(tmp_path/"a.tif") as src:
        pixels = src.width*src.height

    assert pixels > MOST_PIXELS

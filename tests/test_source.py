"""Inputs as they come: a map is that of the same picture as plain 8-bit RGB, however the picture was saved.

*agree* is the share of pixels that have the same word in both maps."""
import json
import shutil
import subprocess
import sys
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rs_zeroseg.data.bands import Look
from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.use.raster import segment
from rs_zeroseg.use.source import Asked

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SIDE, GSD = 192, .5
WORDS = ["grass", "tree", "water", "sand", "building", "road", "tennis court"]
PLACE = dict(crs="EPSG:32631", transform=rasterio.Affine(GSD, 0, 450_000, 0, -GSD, 5_400_000))


@pytest.fixture(scope="module")
def model():
    return load("pocket")


@pytest.fixture(scope="module")
def scene():
    "(3,192,192) uint8, no band of a pixel 0 or 255, so that both are free to stand for nothing."
    return make_scene(17, size=SIDE).image.transpose(2, 0, 1).clip(1, 254)


def moved(right, down, gsd=GSD):
    "Where a file lies whose corner is so many pixels of the scene to the right and down."
    return dict(PLACE, transform=PLACE["transform"] @ rasterio.Affine.translation(right, down)
                @ rasterio.Affine.scale(gsd/GSD))


def write(path, array, colours=(), names=(), tags=(), mask=None, **profile):
    "A (C,H,W) array as a GeoTIFF with these colour tags, names and tags of bands; its path."
    C, H, W = array.shape
    profile = dict(driver="GTiff", count=C, height=H, width=W, dtype=array.dtype) | PLACE | profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dst:
        dst.write(array)
        for band, name in enumerate(names, 1):
            dst.set_band_description(band, name)
        for band, tagged in enumerate(tags, 1):
            dst.update_tags(band, **tagged)
        if colours:
            dst.colorinterp = [ColorInterp[c] for c in colours]
        if mask is not None:
            dst.write_mask(mask)
    return path


def vrt(path, files, width=SIDE, height=SIDE, bands=3, dtype="Byte", colours=()):
    "A VRT of {file: (column, row, width, height)} as gdalbuildvrt writes it; its path."
    text = []
    for band in range(1, bands + 1):
        sources = [f'<SimpleSource><SourceFilename>{file}</SourceFilename><SourceBand>{band}</SourceBand>'
                   f'<SrcRect xOff="0" yOff="0" xSize="{w}" ySize="{h}"/>'
                   f'<DstRect xOff="{c}" yOff="{r}" xSize="{w}" ySize="{h}"/></SimpleSource>'
                   for file, (c, r, w, h) in files.items()]
        colour = f"<ColorInterp>{colours[band - 1]}</ColorInterp>" if colours else ""
        text.append(f'<VRTRasterBand dataType="{dtype}" band="{band}">{colour}{"".join(sources)}</VRTRasterBand>')
    t = PLACE["transform"]
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{PLACE["crs"]}</SRS><GeoTransform>'
                    f'{t.c},{t.a},0,{t.f},0,{t.e}</GeoTransform>{"".join(text)}</VRTDataset>')
    return path


class Told(dict):
    "What `segment` returns, with the map (H,W) and the warnings."


def mapped(source, model, folder, **asked):
    "The map of a source, what was reported, and what was said."
    look = Look(**{k: asked.pop(k) for k in ("bands", "stretch", "nodata") if k in asked})
    out = folder/"mapped.tif"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = Told(segment(source, WORDS, out, model, threshold=0, progress=False, asked=Asked(look, **asked)))
    with rasterio.open(out) as src:
        told.labels, told.crs, told.transform = src.read(1), src.crs, src.transform
    told.said = "\n".join(str(w.message) for w in caught)
    return told


def agree(a, b):
    "Share of the pixels that have the same label in two maps."
    return (a == b).mean()


@pytest.fixture(scope="module")
def plain(scene, model, tmp_path_factory):
    "The map of the scene as 8-bit RGB."
    folder = tmp_path_factory.mktemp("plain")
    labels = mapped(write(folder/"scene.tif", scene), model, folder).labels
    assert (np.bincount(labels.ravel())/labels.size > .05).sum() >= 5, "one class agrees with anything"
    return labels


@pytest.fixture(scope="module")
def wide(scene):
    "The scene as a satellite may count it."
    return scene.astype(np.uint16)*30 + 200


def tiles_of(array, folder, name="tile", **profile):
    "Twelve files of 4 x 3 parts; {path: (column, row, width, height)}."
    made = {}
    for r in range(0, SIDE, SIDE//3):
        for c in range(0, SIDE, SIDE//4):
            path = folder/f"{name}_{r:03}_{c:03}.tif"
            write(path, array[:, r:r + SIDE//3, c:c + SIDE//4], **(moved(c, r) | profile))
            made[path] = (c, r, SIDE//4, SIDE//3)
    return made


# ---- 1. one stretch

def test_twelve_tiles_are_mapped_as_their_vrt(wide, model, tmp_path):
    tiles = tiles_of(wide, tmp_path)
    whole = mapped(vrt(tmp_path/"all.vrt", tiles, dtype="UInt16"), model, tmp_path)

    joined = mapped(list(tiles), model, tmp_path)

    assert agree(joined.labels, whole.labels) >= .99
    assert joined["files"] == 12 and joined["stretch"] == whole["stretch"]
    assert "stretched from their 2nd to their 98th percentile" in joined.said


def test_tiles_in_a_folder_are_one_mosaic(wide, model, tmp_path):
    (tmp_path/"tiles").mkdir()
    tiles = tiles_of(wide, tmp_path/"tiles")

    by_list, by_folder, by_pattern = (mapped(given, model, tmp_path) for given in
                                      (list(tiles), tmp_path/"tiles", f"{tmp_path}/tiles/tile_*.tif"))

    assert agree(by_list.labels, by_folder.labels) == 1 and agree(by_list.labels, by_pattern.labels) == 1


def test_one_tile_of_a_mosaic_says_that_its_stretch_is_its_own(wide, model, tmp_path):
    tiles = list(tiles_of(wide, tmp_path))

    alone = mapped(tiles[5], model, tmp_path)
    fixed = mapped(tiles[5], model, tmp_path, stretch=(200., 7850.))

    assert "its stretch is its own" in alone.said and "--stretch LOW,HIGH" in alone.said
    assert "its stretch is its own" not in fixed.said


SAYS = {   # what the file says of its numbers: (array from the scene, profile and tags)
    "NBITS": lambda x: ((x*(4095/255)).round().astype(np.uint16), dict(nbits=12)),
    "statistics": lambda x: (x.astype(np.uint16)*30 + 200, dict(tags=[dict(
        STATISTICS_MINIMUM="200", STATISTICS_MAXIMUM="7850", STATISTICS_MEAN="4000", STATISTICS_STDDEV="1800")]*3)),
    "scale and offset": lambda x: (x.astype(np.uint16)*30 + 200, {}),
}


@pytest.mark.parametrize("how", SAYS)
def test_what_a_file_says_of_its_numbers_counts(scene, plain, model, tmp_path, how):
    array, profile = SAYS[how](scene)
    source = write(tmp_path/"a.tif", array, **profile)
    if how == "scale and offset":
        with rasterio.open(source, "r+") as dst:
            dst.scales, dst.offsets = (1/7650,)*3, (-200/7650,)*3

    found = mapped(source, model, tmp_path)

    assert agree(found.labels, plain) >= .99
    assert {"NBITS": "NBITS=12", "statistics": "its statistics"}.get(how, how) in found["stretch_by"]


def scaled(path, array, scale, offset, **profile):
    "A file whose numbers have this scale and offset; its path."
    write(path, array, **profile)
    with rasterio.open(path, "r+") as dst:
        dst.scales, dst.offsets = (scale,)*3, (offset,)*3
    return path


def statistics(low, high):
    "Statistics as GDAL writes them, of all three bands."
    told = dict(MINIMUM=low, MAXIMUM=high, MEAN=(low + high)/2, STDDEV=(high - low)/2)
    return [{f"STATISTICS_{name}": str(value) for name, value in told.items()}]*3


def halves(array):
    "The left and the right half of a picture, and where the right one lies."
    return array[:, :, :SIDE//2], array[:, :, SIDE//2:], moved(SIDE//2, 0)


@pytest.mark.parametrize("says", ["nothing", "statistics"])
def test_each_file_of_a_mosaic_has_its_own_scale_and_offset(scene, plain, model, tmp_path, says):
    left, right, place = halves(scene.astype(np.uint16))
    tags = [statistics(200, 7850), statistics(0, 2550)] if says == "statistics" else [(), ()]
    a = scaled(tmp_path/"a.tif", left*30 + 200, 1/30, -200/30, tags=tags[0])
    b = scaled(tmp_path/"b.tif", 2550 - right*10, -1/10, 255, tags=tags[1], **place)

    found = mapped([a, b], model, tmp_path)

    assert agree(found.labels, plain) >= .99
    assert found["stretch_by"] == f"by its {'scale and offset' if says == 'nothing' else says}"


@pytest.mark.parametrize("tags", [(), statistics(0, 7650)])
def test_a_negative_scale_turns_neither_the_limits_nor_the_picture(scene, plain, model, tmp_path, tags):
    source = scaled(tmp_path/"a.tif", 7650 - scene.astype(np.uint16)*30, -1/30, 255, tags=tags)

    found = mapped(source, model, tmp_path)

    assert agree(found.labels, plain) >= .99
    np.testing.assert_allclose(found["stretch"], [[0, 255]]*3)


@pytest.mark.parametrize("how", ["scale and offset", "NBITS", "scaled bytes"])
def test_files_that_count_in_different_ways_are_not_one_mosaic(scene, wide, model, tmp_path, how):
    left, right, place = halves(wide if how == "scale and offset" else scene)
    a = write(tmp_path/"a.tif", left//16 if how == "NBITS" else left, **(dict(nbits=4) if how == "NBITS" else {}))
    scale = 1. if how == "NBITS" else 1/255
    b = scaled(tmp_path/"b.tif", right, scale, 0., **place)
    says = {"NBITS": "uint8 and uint8 with NBITS=4", "scaled bytes": "uint8 and uint8 with scale and offset"}

    with pytest.raises(ValueError, match=rf"a\.tif and 1 more: {says.get(how, 'uint16 and uint16 with scale')}.*apart"):
        mapped([a, b], model, tmp_path)

    assert mapped([a, b], model, tmp_path, stretch=(200., 7850.))["files"] == 2


def test_files_of_12_and_16_bits_are_one_mosaic(wide, model, tmp_path):
    left, right, place = halves(wide//2)
    right = mapped([write(tmp_path/"a.tif", left), write(tmp_path/"b.tif", right, **place)], model, tmp_path)
    write(tmp_path/"a.tif", left, nbits=12)

    found = mapped([tmp_path/"a.tif", tmp_path/"b.tif"], model, tmp_path)

    assert found["stretch_by"] == "percentiles" and agree(found.labels, right.labels) == 1


@pytest.mark.parametrize("stretch", ["auto", "none", (0., 1.)])
def test_one_bit_where_0_is_white_is_turned_at_any_stretch(scene, model, tmp_path, stretch):
    dark = (scene[:1] < 128).astype(np.uint8)
    right = mapped(write(tmp_path/"b.tif", 255 - 255*dark), model, tmp_path, bands=(1,))

    found = mapped(write(tmp_path/"a.tif", dark, nbits=1, photometric="MINISWHITE"), model, tmp_path, bands=(1,),
                   stretch=stretch)

    assert agree(found.labels, right.labels) > .99


def test_fractions_of_16_bits_have_no_number_of_bits(scene, plain, model, tmp_path):
    found = mapped(write(tmp_path/"a.tif", (scene/255).astype(np.float32), nbits=16), model, tmp_path, stretch="auto")
    right = mapped(write(tmp_path/"b.tif", (scene/255).astype(np.float32)), model, tmp_path)

    assert found["stretch_by"] == "percentiles" and agree(found.labels, right.labels) > .99


GREY = {   # what becomes of a grey picture where 0 is white: (array, profile)
    "bytes": lambda x: (255 - x, {}),
    "12 bits": lambda x: (4095 - x.astype(np.uint16)*16, dict(nbits=12)),
    "16 bits": lambda x: (7650 - x.astype(np.uint16)*30, {}),
    "1 bit": lambda x: ((x < 128).astype(np.uint8), dict(nbits=1)),
}


@pytest.mark.parametrize("bands", [(1,), (1, 1, 1)])
@pytest.mark.parametrize("how", GREY)
def test_a_grey_picture_where_0_is_white_is_turned(scene, model, tmp_path, how, bands):
    values, profile = GREY[how](scene[:1])
    dark = {"1 bit": (scene[:1] >= 128).astype(np.uint8)*np.uint8(255), "16 bits": scene[:1].astype(np.uint16)*30}
    right = mapped(write(tmp_path/"b.tif", dark.get(how, scene[:1])), model, tmp_path, bands=bands)

    found = mapped(write(tmp_path/"a.tif", values, photometric="MINISWHITE", **profile), model, tmp_path, bands=bands)

    assert agree(found.labels, right.labels) > .99


def test_a_crop_of_water_is_read_as_in_the_whole(scene, wide, plain, model, tmp_path):
    "Alone, 16 bits of one class are stretched until they look like all classes."
    crop = wide[:, 100:164, 20:84]
    source = write(tmp_path/"crop.tif", crop, **moved(20, 100))

    found = mapped(source, model, tmp_path, stretch=(200., 7850.))

    bytes_ = mapped(write(tmp_path/"bytes.tif", scene[:, 100:164, 20:84], **moved(20, 100)), model, tmp_path)
    assert agree(found.labels, bytes_.labels) >= .99


@pytest.mark.parametrize("stretch, says", [("percent", "2nd to their 98th"), ("none", "by its type: 0 to 65535")])
def test_a_stretch_is_as_asked(wide, model, tmp_path, stretch, says):
    assert says in mapped(write(tmp_path/"a.tif", wide, nbits=13), model, tmp_path, stretch=stretch).said


def test_bytes_and_numbers_are_not_one_mosaic(scene, wide, model, tmp_path):
    a, b = write(tmp_path/"a.tif", scene), write(tmp_path/"b.tif", wide, **moved(SIDE, 0))

    with pytest.raises(ValueError, match="uint16 and uint8 in one run"):
        mapped([a, b], model, tmp_path)


# ---- 2. masks

def hole():
    "(H,W) bool, a hole in the middle."
    found = np.zeros((SIDE, SIDE), bool)
    found[50:90, 60:130] = True
    return found


def with_alpha_in_band(scene, tmp_path, band):
    more = [scene[:1] for _ in range(band - 4)]
    alpha = np.where(hole(), 0, 255).astype(np.uint8)[None]
    colours = ["red", "green", "blue", *["undefined"]*(band - 4), "alpha"]
    return write(tmp_path/"a.tif", np.concatenate([scene, *more, alpha]), colours)


MASKS = {
    "alpha in band 4": lambda scene, p: with_alpha_in_band(scene, p, 4),
    "alpha in band 5": lambda scene, p: with_alpha_in_band(scene, p, 5),
    "alpha in band 7": lambda scene, p: with_alpha_in_band(scene, p, 7),
    "internal mask": lambda scene, p: write(p/"a.tif", scene, mask=~hole()),
    "nodata": lambda scene, p: write(p/"a.tif", np.where(hole(), 0, scene).astype(np.uint8), nodata=0),
}


@pytest.mark.parametrize("how", MASKS)
def test_a_mask_counts_wherever_it_is(scene, model, tmp_path, how):
    found = mapped(MASKS[how](scene, tmp_path), model, tmp_path)

    np.testing.assert_array_equal(found.labels == 255, hole())


@pytest.mark.parametrize("how", MASKS)
def test_nodata_none_counts_every_pixel(scene, model, tmp_path, how):
    source = MASKS[how](scene, tmp_path)
    with rasterio.open(source) as src:
        pixels = src.read([1, 2, 3])
    right = mapped(write(tmp_path/"b.tif", pixels), model, tmp_path, nodata="none")

    found = mapped(source, model, tmp_path, nodata="none")

    assert found["nodata"] == 0 and agree(found.labels, right.labels) == 1


def test_nodata_none_counts_the_clear_colour_of_a_palette(scene, model, tmp_path):
    from PIL import Image
    picture = Image.fromarray(scene.transpose(1, 2, 0)).quantize(200)
    picture.save(tmp_path/"a.png", transparency=7)

    found, every = (mapped(tmp_path/"a.png", model, tmp_path, nodata=nodata) for nodata in (None, "none"))

    np.testing.assert_array_equal(found.labels == 255, np.asarray(picture) == 7)
    assert every["nodata"] == 0


def test_nodata_none_keeps_the_gaps_of_a_vrt(scene, model, tmp_path):
    left = write(tmp_path/"l.tif", scene[:, :, :64])
    path = vrt(tmp_path/"a.vrt", {left: (0, 0, 64, SIDE)})

    found = mapped(path, model, tmp_path, nodata="none")

    np.testing.assert_array_equal(found.labels == 255, np.broadcast_to(np.arange(SIDE) >= 64, (SIDE, SIDE)))


def test_a_killed_run_begins_anew_where_nodata_none_is_asked(scene, model, tmp_path, monkeypatch):
    "What was answered with a mask is not used where every pixel counts."
    source = write(tmp_path/"a.tif", np.where(hole(), 0, scene).astype(np.uint8), nodata=0)
    monkeypatch.setattr("rs_zeroseg.use.raster.write_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mapped(source, model, tmp_path)
    monkeypatch.undo()

    assert mapped(source, model, tmp_path, nodata="none")["nodata"] == 0


def interrupted(*given):
    raise KeyboardInterrupt


def test_nodata_of_each_band_counts(scene, model, tmp_path):
    "GeoTIFF knows one nodata value for all bands, a VRT one for each."
    pixels = np.where(hole(), np.array([0, 255, 0], np.uint8)[:, None, None], scene)
    write(tmp_path/"a.tif", pixels)
    path = vrt(tmp_path/"a.vrt", {tmp_path/"a.tif": (0, 0, SIDE, SIDE)})
    text = path.read_text()
    for band, value in ((1, 0), (2, 255), (3, 0)):
        text = text.replace(f'band="{band}">', f'band="{band}"><NoDataValue>{value}</NoDataValue>', 1)
    path.write_text(text)

    found = mapped(path, model, tmp_path)

    np.testing.assert_array_equal(found.labels == 255, hole())


def test_the_gaps_of_a_vrt_hold_nothing(scene, plain, model, tmp_path):
    "Ten tiles of twelve; one that is missing lies inside."
    tiles = tiles_of(scene, tmp_path)
    for path in (tmp_path/"tile_064_048.tif", tmp_path/"tile_000_000.tif"):
        del tiles[path]
    gaps = np.zeros((SIDE, SIDE), bool)
    gaps[64:128, 48:96] = gaps[:64, :48] = True

    found = mapped(vrt(tmp_path/"a.vrt", tiles), model, tmp_path)

    np.testing.assert_array_equal(found.labels == 255, gaps)
    np.testing.assert_array_equal(mapped(list(tiles), model, tmp_path).labels, found.labels)


def test_a_vrt_of_four_bands_with_alpha_added_holds_nothing_in_its_gap(scene, model, tmp_path):
    near = np.concatenate([scene, scene[:1]])
    left = write(tmp_path/"l.tif", near[:, :, :64], ["red", "green", "blue", "undefined"], **moved(0, 0))
    right = write(tmp_path/"r.tif", near[:, :, 128:], ["red", "green", "blue", "undefined"], **moved(128, 0))
    boxes = {left: (0, 0, 64, SIDE), right: (128, 0, 64, SIDE)}
    path = vrt(tmp_path/"a.vrt", boxes, bands=4, colours=["Red", "Green", "Blue", "Undefined"])
    filled = "".join(f'<ComplexSource><SourceFilename>{file}</SourceFilename><SourceBand>1</SourceBand>'
                     f'<SrcRect xOff="0" yOff="0" xSize="{w}" ySize="{h}"/>'
                     f'<DstRect xOff="{c}" yOff="{r}" xSize="{w}" ySize="{h}"/>'
                     '<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio></ComplexSource>'
                     for file, (c, r, w, h) in boxes.items())
    alpha = f'<VRTRasterBand dataType="Byte" band="5"><ColorInterp>Alpha</ColorInterp>{filled}</VRTRasterBand>'
    path.write_text(path.read_text().replace("</VRTDataset>", f"{alpha}</VRTDataset>"))

    found = mapped(path, model, tmp_path)

    np.testing.assert_array_equal(found.labels == 255, np.broadcast_to((np.arange(SIDE)//64 == 1), (SIDE, SIDE)))


# ---- 3. bands

SENTINEL = "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12".split()


def thirteen(scene):
    found = np.random.default_rng(0).integers(1, 255, (13, SIDE, SIDE), dtype=np.uint8)
    found[[3, 2, 1]] = scene
    return found


PLANET = "coastal_blue blue green_i green yellow red rededge nir".split()
BANDS = {   # how: (array from the scene, colour tags, names, bands)
    "Sentinel-2": (thirteen, (), SENTINEL, [4, 3, 2]),
    "tagged BGR": (lambda s: s[::-1], ["blue", "green", "red"], (), [3, 2, 1]),
    "named BGR, tagged by default": (lambda s: s[::-1], (), ["blue", "green", "red"], [3, 2, 1]),
    "PlanetScope": (lambda s: thirteen(s)[[4, 1, 5, 2, 6, 3, 7, 8]], (), PLANET, [6, 4, 2]),
    "Landsat 8": (lambda s: thirteen(s)[:7], (), [f"SR_B{i}" for i in range(1, 8)], [4, 3, 2]),
    "Landsat 5": (lambda s: thirteen(s)[1:7], (), [f"SR_B{i}" for i in (1, 2, 3, 4, 5, 7)], [3, 2, 1]),
}


@pytest.mark.parametrize("how", BANDS)
def test_red_green_and_blue_are_found(scene, plain, model, tmp_path, how):
    make, colours, names, bands = BANDS[how]

    found = mapped(write(tmp_path/"a.tif", make(scene), colours, names), model, tmp_path)

    assert agree(found.labels, plain) == 1 and found["bands"] == bands


def test_bands_that_nobody_names_are_said_and_may_be_given(scene, plain, model, tmp_path):
    source = write(tmp_path/"a.tif", thirteen(scene), ["undefined"]*13)

    guessed, given = mapped(source, model, tmp_path), mapped(source, model, tmp_path, bands=(4, 3, 2))

    assert "1, 2 and 3 are taken; --bands 4,3,2" in guessed.said and guessed["bands"] == [1, 2, 3]
    assert agree(given.labels, plain) == 1 and given["bands_by"] == "as asked"


def test_a_palette_is_its_colours(scene, model, tmp_path):
    from PIL import Image
    picture = Image.fromarray(scene.transpose(1, 2, 0)).quantize(255)
    picture.save(tmp_path/"a.png")
    expanded = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    Image.fromarray(expanded.transpose(1, 2, 0)).save(tmp_path/"b.png")

    found, same = (mapped(tmp_path/name, model, tmp_path) for name in ("a.png", "b.png"))

    assert agree(found.labels, same.labels) == 1 and found["bands_by"] == "its palette"


def test_each_file_of_a_mosaic_has_its_own_palette(scene, model, tmp_path):
    "One file is of colours, two are of numbers that stand for other colours in each, one of them of 4 bits."
    from PIL import Image
    parts, colours = {0: scene[:, :, :64], 64: scene[:, :, 64:128], 128: scene[:, :, 128:]}, []
    for column, part in parts.items():
        picture = Image.fromarray(part.transpose(1, 2, 0)).quantize(200 if column == 0 else 16)
        expanded = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        colours.append(expanded)
        pixels = expanded if column == 64 else np.asarray(picture)[None]
        path = write(tmp_path/f"{column}.tif", pixels, **moved(column, 0), **(dict(nbits=4) if column == 128 else {}))
        if column != 64:
            with rasterio.open(path, "r+") as dst:
                dst.write_colormap(1, dict(enumerate(np.reshape(picture.getpalette(), (-1, 3)).tolist())))
    whole = mapped(write(tmp_path/"whole.tif", np.concatenate(colours, 2)), model, tmp_path)

    found = mapped([tmp_path/f"{column}.tif" for column in parts], model, tmp_path)

    assert agree(found.labels, whole.labels) == 1


def test_a_grey_band_is_refused_and_taken_on_request(scene, model, tmp_path):
    source = write(tmp_path/"grey.tif", scene[:1])
    thrice = mapped(write(tmp_path/"thrice.tif", scene[[0, 0, 0]]), model, tmp_path)

    with pytest.raises(ValueError, match=r"grey\.tif: 1 band\(s\).*--bands 1 and expect less"):
        mapped(source, model, tmp_path)

    assert agree(mapped(source, model, tmp_path, bands=(1,)).labels, thrice.labels) == 1


# ---- 4. nodata that nobody declares

def collar(scene, value, dtype=np.uint8):
    "The scene as this type, with a frame of a value as a turned orthophoto has one; and where it is."
    r, c = np.mgrid[:SIDE, :SIDE]
    frame = (r + c < 60) | (r + c > 2*SIDE - 60) | (r - c > SIDE - 60) | (c - r > SIDE - 60)
    return np.where(frame, dtype(value), scene.astype(dtype)), frame


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_frame_is_nodata(scene, model, tmp_path, value):
    pixels, frame = collar(scene, value)
    source = write(tmp_path/"a.tif", pixels)

    found, kept = mapped(source, model, tmp_path), mapped(source, model, tmp_path, nodata="none")

    np.testing.assert_array_equal(found.labels == 255, frame)
    assert f"{value} in all three bands at its edge is taken for nodata" in found.said
    assert not (kept.labels == 255).any()


@pytest.mark.parametrize("value", [-9999, -3.4e38])
def test_an_absurd_value_is_nodata_and_moves_no_stretch(scene, model, tmp_path, value):
    pixels = np.where(hole(), np.float32(value), scene/np.float32(255))
    clean = write(tmp_path/"clean.tif", np.where(hole(), np.nan, scene/np.float32(255)).astype(np.float32))

    found, right = (mapped(p, model, tmp_path) for p in (write(tmp_path/"a.tif", pixels.astype(np.float32)), clean))

    np.testing.assert_array_equal(found.labels, right.labels)
    np.testing.assert_array_equal(found.labels == 255, hole())
    assert "taken for nodata and left out" in found.said


def test_black_inside_is_kept_and_said(scene, model, tmp_path):
    source = write(tmp_path/"a.tif", np.where(hole(), 0, scene).astype(np.uint8))

    found, given = mapped(source, model, tmp_path), mapped(source, model, tmp_path, nodata=0.)

    assert not (found.labels == 255).any() and "--nodata 0 leaves them out" in found.said
    np.testing.assert_array_equal(given.labels == 255, hole())


def test_an_ordinary_picture_has_no_nodata(model, tmp_path, scene):
    for seed in range(3, 9):
        pixels = make_scene(seed, size=SIDE).image.transpose(2, 0, 1)
        found = mapped(write(tmp_path/"a.tif", pixels), model, tmp_path)
        assert found["nodata"] == 0 and "nodata" not in found.said


def test_a_frame_of_each_tile_is_left_out(scene, model, tmp_path):
    "Two turned photographs overlap: what one does not show the other does."
    pixels, frame = collar(scene, 0)
    a = write(tmp_path/"a.tif", pixels)
    b = write(tmp_path/"b.tif", np.where(frame, scene, 0).astype(np.uint8))

    found = mapped([a, b], model, tmp_path)

    assert found["nodata"] == 0


# ---- 5. an alpha that is none

def test_near_infrared_that_is_tagged_as_alpha_is_no_mask(scene, plain, model, tmp_path):
    near = scene[1:2] - scene[1].min()                # 0 here and there

    found = mapped(write(tmp_path/"a.tif", np.concatenate([scene, near])), model, tmp_path)

    assert agree(found.labels, plain) == 1 and found["nodata"] == 0
    assert "band 4 is tagged as alpha" in found.said and "not read as a mask" in found.said


def test_a_feathered_alpha_is_one(scene, model, tmp_path):
    alpha = np.where(hole(), 0, 255).astype(np.uint8)
    alpha[:, 58:60] = 128

    found = mapped(write(tmp_path/"a.tif", np.concatenate([scene, alpha[None]])), model, tmp_path)

    np.testing.assert_array_equal(found.labels == 255, hole())


# ---- 6. evaluate

@pytest.fixture
def pairs(tmp_path, scene):
    "A function that writes an image and a mask of 0 and 1 and evaluates; labels.json lists 0 and 1."
    from rs_zeroseg.data.imagery import FolderDataset
    categories = [dict(value=0, name="grass"), dict(value=1, name="water")]
    (tmp_path/"labels.json").write_text(json.dumps(dict(name="two", categories=categories)))
    for kind in ("images", "masks"):
        (tmp_path/kind).mkdir()

    def make(image, mask, place=PLACE):
        write(tmp_path/"images"/"a.tif", image, nodata=0)
        write(tmp_path/"masks"/"a.tif", mask[None].astype(np.uint8), **place)
        return FolderDataset(tmp_path/"images", tmp_path/"masks", tmp_path/"labels.json")
    return make


def test_255_that_is_not_listed_is_an_error_with_its_count(pairs, scene, model):
    from rs_zeroseg.evidence.evaluate import evaluate
    mask = np.where(hole(), 255, 0)

    with pytest.raises(ValueError, match=rf"mask value 255 is not in the labels of two \({hole().sum()} of {SIDE**2}"):
        evaluate(model, pairs(scene, mask), progress=False)


def test_nodata_of_the_image_is_left_out_and_counted(pairs, scene, model):
    "The right half of the image holds nothing; what the mask says there must not matter."
    from rs_zeroseg.evidence.evaluate import evaluate
    right = np.broadcast_to(np.arange(SIDE) >= SIDE//2, (SIDE, SIDE))
    image = np.where(right, 0, scene).astype(np.uint8)

    one, two = (evaluate(model, pairs(image, np.where(right, said, hole())), progress=False) for said in (0, 1))

    assert one.as_dict() == two.as_dict()
    assert one.nodata == right.sum() and one.table.pixels.sum() == (~right).sum()


LOCAL = 'LOCAL_CS["WGS 84 / UTM zone 31N",UNIT["metre",1]]'   # a name, and no place
PLACES = [(0, "EPSG:32631", False), (.2, "EPSG:32631", False), (40, "EPSG:32631", True), (0, "EPSG:32632", True),
          (0, LOCAL, False), (40, LOCAL, True)]


@pytest.mark.parametrize("right, crs, fails", PLACES)
def test_a_mask_of_another_place_is_an_error(pairs, scene, model, right, crs, fails):
    place = dict(moved(right, 0), crs=crs)

    if fails:
        with pytest.raises(ValueError, match="it lies elsewhere than its image"):
            pairs(scene, hole(), place)[0]
    else:
        assert pairs(scene, hole(), place)[0]["nodata"] == 0


def test_images_of_a_folder_share_one_stretch(wide, tmp_path):
    from rs_zeroseg.data.imagery import FolderDataset
    for kind in ("images", "masks"):
        (tmp_path/kind).mkdir()
    tiles_of(wide, tmp_path/"images")
    tiles_of(np.zeros((1, SIDE, SIDE), np.uint8), tmp_path/"masks")
    labels = dict(name="one", categories=[dict(value=0, name="grass")])
    (tmp_path/"labels.json").write_text(json.dumps(labels))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = FolderDataset(tmp_path/"images", tmp_path/"masks", tmp_path/"labels.json")
        items = [data[i] for i in range(12)]

    low, high = np.percentile(wide, (2, 98), axis=(1, 2))[..., None, None]
    right = ((wide - low)/(high - low)).clip(0, 1)
    for n, item in enumerate(items):
        r, c = n//4*64, n % 4*48
        np.testing.assert_allclose(item["image"].numpy(), right[:, r:r + 64, c:c + 48], atol=1e-4)
    assert sum("stretched" in str(w.message) for w in caught) == 1


def test_images_of_a_folder_that_count_in_different_ways_have_a_stretch_each(scene, tmp_path):
    from rs_zeroseg.data.imagery import FolderDataset
    for kind in ("images", "masks"):
        (tmp_path/kind).mkdir()
    numbers = scene.astype(np.uint16)
    scaled(tmp_path/"images"/"a.tif", numbers*30 + 200, 1/30, -200/30)
    scaled(tmp_path/"images"/"b.tif", 2550 - numbers*10, -1/10, 255.)
    write(tmp_path/"images"/"c.tif", numbers*16, nbits=12)
    for name in "abc":
        write(tmp_path/"masks"/f"{name}.tif", np.zeros((1, SIDE, SIDE), np.uint8))
    labels = dict(name="one", categories=[dict(value=0, name="grass")])
    (tmp_path/"labels.json").write_text(json.dumps(labels))

    data = FolderDataset(tmp_path/"images", tmp_path/"masks", tmp_path/"labels.json")

    with pytest.warns(UserWarning, match="stretched by"):
        for item in (data[i] for i in range(3)):
            np.testing.assert_allclose(item["image"].numpy(), scene/255, atol=.005)


# ---- 7. the size of a pixel

@pytest.fixture(scope="module")
def double(scene):
    "The scene with pixels of half the side."
    return scene.repeat(2, 1).repeat(2, 2)


def test_an_odd_pixel_size_is_said(scene, double, model, tmp_path):
    assert model.gsd_m == pytest.approx(.63, abs=.01)
    usual, fine = write(tmp_path/"a.tif", scene), write(tmp_path/"b.tif", double, **moved(0, 0, GSD/2))

    told, odd = mapped(usual, model, tmp_path), mapped(fine, model, tmp_path)

    assert "metres" not in told.said and "--gsd" not in told.said
    assert "a pixel is 0.25 m on the ground, and the model was made for 0.63 m" in odd.said
    assert odd["gsd_m"] == odd["seen_gsd_m"] == pytest.approx(.25, abs=.001)


def test_a_map_at_another_gsd_lies_on_the_grid_of_the_input(scene, double, plain, model, tmp_path):
    fine = write(tmp_path/"b.tif", double, **moved(0, 0, GSD/2))

    found = mapped(fine, model, tmp_path, gsd=GSD)

    assert found.labels.shape == (2*SIDE, 2*SIDE) and found.transform == moved(0, 0, GSD/2)["transform"]
    assert found["seen_gsd_m"] == pytest.approx(.5, abs=.002)
    assert agree(found.labels, plain.repeat(2, 0).repeat(2, 1)) >= .99


def test_a_hole_is_exact_at_another_gsd(double, model, tmp_path):
    empty = np.zeros(double.shape[1:], bool)
    empty[101:181, 33:95] = True
    fine = write(tmp_path/"b.tif", np.where(empty, 0, double).astype(np.uint8), nodata=0, **moved(0, 0, GSD/2))

    found = mapped(fine, model, tmp_path, gsd=.6)

    np.testing.assert_array_equal(found.labels == 255, empty)


def test_auto_is_what_the_model_was_made_for(double, model, tmp_path):
    fine = write(tmp_path/"b.tif", double, **moved(0, 0, GSD/2))

    auto, given = (mapped(fine, model, tmp_path, gsd=gsd) for gsd in ("auto", model.gsd_m))

    assert agree(auto.labels, given.labels) == 1 and auto["seen_gsd_m"] == pytest.approx(model.gsd_m, rel=.01)


def test_a_coarse_picture_is_enlarged(scene, plain, model, tmp_path):
    "Pixels of 2 m cannot be mended, but the map has their grid."
    coarse = scene.reshape(3, SIDE//4, 4, SIDE//4, 4).mean((2, 4)).astype(np.uint8)

    found = mapped(write(tmp_path/"a.tif", coarse, **moved(0, 0, 4*GSD)), model, tmp_path, gsd="auto")

    assert found.labels.shape == (SIDE//4, SIDE//4) and not (found.labels == 255).any()
    assert agree(found.labels, plain[1::4, 1::4]) > .6


def test_a_picture_without_place_has_no_gsd(scene, plain, model, tmp_path):
    source = write(tmp_path/"a.tif", scene, crs=None, transform=rasterio.Affine.identity())

    auto = mapped(source, model, tmp_path, gsd="auto")

    assert auto["gsd_m"] is None and "does not say how large its pixels are" in auto.said
    with pytest.raises(ValueError, match="--gsd 0.3: the image does not say how large its pixels are"):
        mapped(source, model, tmp_path, gsd=.3)


# ---- 8. inputs as they come

def test_a_member_of_an_archive(scene, plain, model, tmp_path):
    import zipfile
    with zipfile.ZipFile(tmp_path/"a.zip", "w") as archive:
        archive.write(write(tmp_path/"a.tif", scene), "inside/a.tif")

    assert agree(mapped(f"/vsizip/{tmp_path}/a.zip/inside/a.tif", model, tmp_path).labels, plain) == 1


def warped(source, out, crs, side=GSD):
    "A raster in another CRS, as gdalwarp makes it."
    from rasterio.warp import Resampling, calculate_default_transform, reproject
    with rasterio.open(source) as src:
        corner, width, height = calculate_default_transform(src.crs, crs, src.width, src.height, *src.bounds,
                                                            resolution=side)
        pixels = np.zeros((3, height, width), np.uint8)
        reproject(src.read(), pixels, src_transform=src.transform, src_crs=src.crs, dst_transform=corner, dst_crs=crs,
                  resampling=Resampling.cubic)
    return write(out, pixels, crs=crs, transform=corner, nodata=0)


# a server of one file that answers each second request with an error 503; GDAL would wait for one in this process
BUSY = """
import http.server, itertools, sys
content, number = open(sys.argv[1], "rb").read(), itertools.count()

class Busy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if next(number) % 2 == 0:
            return self.send_error(503)
        asked = self.headers.get("Range", f"bytes=0-{len(content)}")[6:].split("-")
        part = content[int(asked[0]):int(asked[1]) + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", len(part))
        self.send_header("Content-Range", f"bytes {asked[0]}-{int(asked[0]) + len(part) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)
    do_HEAD = do_GET

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_a_server_that_is_busy_is_asked_again(scene, plain, model, tmp_path):
    source = write(tmp_path/"a.tif", scene)
    command, pipe = [sys.executable, "-c", BUSY, str(source)], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            address = f"http://127.0.0.1:{int(server.stdout.readline())}"
            assert agree(mapped(f"/vsicurl/{address}/a.tif", model, tmp_path).labels, plain) == 1
        finally:
            server.kill()


def test_a_file_of_another_zone_joins_the_mosaic(scene, plain, model, tmp_path):
    left = write(tmp_path/"left.tif", scene[:, :, :112])
    right = write(tmp_path/"right.tif", scene[:, :, 80:], **moved(80, 0))
    other = warped(right, tmp_path/"other.tif", "EPSG:32632")

    found = mapped([left, other], model, tmp_path)

    assert found["georeference"] == "EPSG:32631" and "1 of 2 file(s) are warped" in found.said
    assert found.labels.shape[0] >= SIDE and found.transform.a == GSD
    c, r = (round(v) for v in ~found.transform @ (PLACE["transform"].c, PLACE["transform"].f))
    here = found.labels[r:r + SIDE, c:c + SIDE]
    assert agree(here[2:-2, 2:-2], plain[2:-2, 2:-2]) > .9


def test_a_map_in_the_crs_that_is_asked_for(scene, plain, model, tmp_path):
    source = write(tmp_path/"a.tif", scene)
    mercator = warped(source, tmp_path/"m.tif", "EPSG:3857", GSD*1.5)

    back = mapped(mercator, model, tmp_path, crs="EPSG:32631")

    assert back["georeference"] == "EPSG:32631"
    rows, columns = np.mgrid[10:SIDE - 10:7, 10:SIDE - 10:7]
    places = [PLACE["transform"] @ (c + .5, r + .5) for r, c in zip(rows.ravel(), columns.ravel())]
    at = [tuple(int(v) for v in (~back.transform @ place)) for place in places]
    here = np.array([back.labels[r, c] for c, r in at])
    assert agree(here, plain[rows, columns].ravel()) > .8


def test_files_on_shifted_grids_are_warped_and_files_without_place_are_not(scene, model, tmp_path):
    a = write(tmp_path/"a.tif", scene[:, :, :96])
    b = write(tmp_path/"b.tif", scene[:, :, 96:], **moved(96.4, 0))
    c = write(tmp_path/"c.tif", scene[:, :, 96:], crs=None)

    assert "1 of 2 file(s) are warped" in mapped([a, b], model, tmp_path).said
    with pytest.raises(ValueError, match="1 of 2 files have no CRS"):
        mapped([a, c], model, tmp_path)


def test_files_that_lie_far_apart_are_said(scene, model, tmp_path):
    a, b = write(tmp_path/"a.tif", scene), write(tmp_path/"b.tif", scene, **moved(1200, 1200))

    found = mapped([a, b], model, tmp_path)

    assert "they cover 0.038 of a map of 1392 x 1392 pixels" in found.said


def test_a_disk_that_is_too_small_for_the_map_is_told_before_the_first_block(scene, model, tmp_path, monkeypatch):
    a = write(tmp_path/"a.tif", scene)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, SIDE**2 - 1))
    monkeypatch.setattr(model, "encode_image", None)

    with pytest.raises(OSError, match=r"map.tif: the answers need 0.000 GB, and 0.000 GB are free; choose a larger"):
        segment(a, WORDS, tmp_path/"map.tif", model, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_disk_that_has_become_too_small_loses_no_block(scene, model, tmp_path, monkeypatch):
    a = write(tmp_path/"a.tif", np.tile(scene, (1, 3, 3)))
    encode, windows = model.encode_image, []

    def interrupted(image):
        if windows:
            raise KeyboardInterrupt
        windows.append(image)
        return encode(image)
    monkeypatch.setattr(model, "encode_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        segment(a, WORDS, tmp_path/"map.tif", model, 128, progress=False)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))

    with pytest.raises(ValueError, match="are free; what is done is kept: make room"):
        segment(a, WORDS, tmp_path/"map.tif", model, 128, progress=False)
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


def test_an_area_is_a_part_of_the_map(scene, plain, model, tmp_path):
    source = write(tmp_path/"a.tif", scene)
    left, top = PLACE["transform"] @ (20, 30)
    right, bottom = PLACE["transform"] @ (150, 170)

    found = mapped(source, model, tmp_path, aoi=f"{left},{bottom},{right},{top}")

    assert found.labels.shape == (140, 130) and (found.transform.c, found.transform.f) == (left, top)
    assert agree(found.labels[32:-32, 32:-32], plain[62:138, 52:118]) > .95


def test_an_area_of_a_file_in_degrees_leaves_out_what_lies_outside(scene, model, tmp_path):
    from rasterio.features import geometry_mask
    from rasterio.warp import transform_geom
    ring = [PLACE["transform"] @ at for at in ((20, 20), (170, 40), (90, 160), (20, 20))]
    shape = dict(type="Polygon", coordinates=[ring])
    area = dict(type="Feature", properties={}, geometry=transform_geom("EPSG:32631", "EPSG:4326", shape, precision=9))
    (tmp_path/"a.geojson").write_text(json.dumps(dict(type="FeatureCollection", features=[area])))

    found = mapped(write(tmp_path/"a.tif", scene), model, tmp_path, aoi=str(tmp_path/"a.geojson"))

    inside = geometry_mask([shape], found.labels.shape, found.transform, invert=True)
    assert ((found.labels != 255) == inside).mean() > .995 and found.labels.shape == (140, 150)


def test_polygons_of_a_collection_count_and_points_are_left_out(scene, model, tmp_path):
    "The file begins with a byte order mark and has an empty CRS, as some programs write it."
    from rasterio.warp import transform_bounds
    ends = PLACE["transform"] @ (20, 100), PLACE["transform"] @ (120, 30)
    left, bottom, right, top = transform_bounds("EPSG:32631", "EPSG:4326", *ends[0], *ends[1])
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    point = dict(type="Point", coordinates=ring[0])
    shapes = dict(type="GeometryCollection", geometries=[point, dict(type="Polygon", coordinates=[ring])])
    plain = mapped(write(tmp_path/"a.tif", scene), model, tmp_path, aoi=",".join(map(str, (*ends[0], *ends[1]))))
    content = dict(type="FeatureCollection", crs=None, features=[dict(type="Feature", geometry=shapes)])
    (tmp_path/"a.geojson").write_text(json.dumps(content), encoding="utf-8-sig")

    found = mapped(tmp_path/"a.tif", model, tmp_path, aoi=str(tmp_path/"a.geojson"))

    assert "a.geojson: 1 of its 2 shapes are no polygons: they are left out" in found.said
    assert abs((found.labels != 255).sum() - plain.labels.size) < .03*plain.labels.size


def test_the_map_in_a_folder_is_no_input_of_the_next_run(scene, plain, model, tmp_path):
    folder = tmp_path/"sheets"
    folder.mkdir()
    write(folder/"a.tif", scene)

    maps = [mapped(folder, model, folder) for _ in range(2)]

    assert [m["files"] for m in maps] == [1, 1] and agree(maps[1].labels, plain) == 1


@pytest.mark.parametrize("how", ["folder", "pattern", "list"])
def test_maps_of_earlier_runs_are_no_images(scene, plain, model, tmp_path, how):
    folder = tmp_path/"sheets"
    folder.mkdir()
    write(folder/"a.tif", scene)
    segment(folder, WORDS, folder/"first.tif", model, probabilities=folder/"p.tif", progress=False)
    given = dict(folder=folder, pattern=str(folder/"*.tif"), list=sorted(folder.glob("*.tif")))[how]

    found = mapped(given, model, tmp_path)

    assert found["files"] == 1 and agree(found.labels, plain) == 1
    assert "2 of 3 files are maps that rs_zeroseg has made: they are left out" in found.said
    with pytest.raises(ValueError, match=r"first\.tif: a map that rs_zeroseg has made, and no image"):
        mapped(folder/"first.tif", model, tmp_path)


def test_a_file_that_is_read_is_not_replaced(scene, model, tmp_path):
    image, style = write(tmp_path/"a.tif", scene), tmp_path/"b.qml"
    mosaic = vrt(tmp_path/"b.vrt", {vrt(tmp_path/"a.vrt", {image: (0, 0, SIDE, SIDE)}): (0, 0, SIDE, SIDE)})
    area = tmp_path/"area.geojson"
    ring = [PLACE["transform"] @ at for at in ((9, 9), (90, 9), (90, 90), (9, 9))]
    outline = dict(type="Polygon", coordinates=[ring])
    area.write_text(json.dumps(outline | dict(crs=dict(properties=dict(name=PLACE["crs"])))))
    style.write_text("<qgis>by hand</qgis>")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    inline = mosaic.read_text()
    for given, asked, out, extras in ((image, {}, image, {}), (mosaic, {}, image, {}), (inline, {}, image, {}),
                                      (tmp_path, {}, image, {}),
                                      (image, dict(aoi=str(area)), tmp_path/"b.tif", {area: print})):
        with pytest.raises(ValueError, match="that is read for the map; choose another name"):
            segment(given, WORDS, out, model, progress=False, asked=Asked(**asked), extras=extras)
    with pytest.raises(ValueError, match=r"b\.qml: a style that was made elsewhere"):
        segment(image, WORDS, tmp_path/"b.tif", model, progress=False)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("crs, wanted, transform", [
    ("EPSG:4326", "EPSG:3413", rasterio.Affine(360/SIDE, 0, -180, 0, -30/SIDE, 90)),              # all of the Arctic
    ("EPSG:32633", "EPSG:4326", rasterio.Affine(1, 0, 5e5, 0, -1, 9_930_000)),                    # 89 degrees north
    ("+proj=sinu +R=6371007.181 +units=m", "EPSG:4326",
     rasterio.Affine(5791.4, 0, -3_335_851, 0, -5791.4, 8_895_604)),                              # a tile of MODIS
    ("EPSG:32601", "EPSG:3832", rasterio.Affine(1, 0, 165_900, 0, -1, 1_000)),                    # the date line
])
def test_an_image_near_a_pole_or_the_date_line_is_warped(scene, model, tmp_path, crs, wanted, transform):
    source = write(tmp_path/"a.tif", scene, crs=crs, transform=transform)

    assert mapped(source, model, tmp_path, crs=wanted).crs == rasterio.crs.CRS.from_user_input(wanted)


@pytest.mark.parametrize("name", ["c.tif.msk", "c.tfw", "c.wld"])
def test_what_others_left_is_not_read_with_the_map(scene, model, tmp_path, name):
    image = write(tmp_path/"a.tif", scene, crs=None, transform=rasterio.Affine.identity())
    (tmp_path/name).write_text("1\n0\n0\n-1\n7\n7\n")

    with pytest.raises(ValueError, match=f"{name}: it would be read with c.tif"):
        segment(image, WORDS, tmp_path/"c.tif", model, progress=False)


def test_overviews_of_an_old_map_go_and_a_place_beside_a_placed_map_stays(scene, plain, model, tmp_path):
    image = write(tmp_path/"a.tif", scene)
    for name in ("mapped.tif.ovr", "mapped.tfw"):
        (tmp_path/name).write_text("1\n0\n0\n-1\n7\n7\n")

    found = mapped(image, model, tmp_path)

    assert agree(found.labels, plain) == 1 and found.transform == PLACE["transform"]
    assert not (tmp_path/"mapped.tif.ovr").exists() and (tmp_path/"mapped.tfw").exists()


def test_statistics_of_old_probabilities_do_not_outlive_them(scene, model, tmp_path):
    "A GIS keeps what it has counted in a file beside the probabilities, and believes it later."
    image, chances, side = write(tmp_path/"a.tif", scene), tmp_path/"p.tif", tmp_path/"p.tif.aux.xml"
    old = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in statistics(1, 2)[0].items())
    side.write_text(f'<PAMDataset><PAMRasterBand band="1"><Metadata>{old}</Metadata></PAMRasterBand></PAMDataset>')

    segment(image, WORDS, tmp_path/"map.tif", model, probabilities=chances, progress=False)

    with rasterio.open(chances) as src:
        assert float(src.tags(1)["STATISTICS_MEAN"]) == pytest.approx(src.read(1).mean(), rel=1e-4)
    assert not side.exists() and (tmp_path/"map.tif.aux.xml").is_file()


def test_a_killed_run_on_a_vrt_begins_anew_when_a_source_has_changed(scene, model, tmp_path, monkeypatch):
    wide = np.tile(scene, (1, 2, 2))
    image = write(tmp_path/"a.tif", wide)
    mosaic = vrt(tmp_path/"a.vrt", {image: (0, 0, 2*SIDE, 2*SIDE)}, 2*SIDE, 2*SIDE)
    seen, encode = [], model.encode_image

    def killed(pixels):
        if seen:
            raise KeyboardInterrupt
        return counted(pixels)

    def counted(pixels):
        seen.append(pixels)
        return encode(pixels)

    def windows(encoder):
        "How many windows a run sees before its end."
        seen.clear()
        monkeypatch.setattr(model, "encode_image", encoder)
        with pytest.raises(KeyboardInterrupt) if encoder is killed else nullcontext():
            segment(mosaic, WORDS, tmp_path/"map.tif", model, 128, progress=False)
        return len(seen)

    done = windows(killed)
    rest = windows(counted)
    windows(killed)
    write(image, wide[:, ::-1].copy())
    assert windows(counted) == done + rest


def test_the_pole_is_mapped_and_degrees_are_not_torn(scene, model, tmp_path):
    pole = write(tmp_path/"pole.tif", scene, crs="EPSG:3995", transform=rasterio.Affine(GSD, 0, -48, 0, -GSD, 48))
    date_line = write(tmp_path/"date_line.tif", scene, crs="EPSG:32601",
                      transform=rasterio.Affine(GSD, 0, 165_990, 0, -GSD, 1_000))
    moon = write(tmp_path/"moon.tif", scene, crs="+proj=longlat +R=1737400 +no_defs",
                 transform=rasterio.Affine.scale(1e-5, -1e-5))

    assert mapped(pole, model, tmp_path)["gsd_m"] == pytest.approx(.514, abs=.001)
    assert mapped(moon, model, tmp_path)["gsd_m"] is None
    for image in (pole, date_line):
        mapped(image, model, tmp_path, crs="EPSG:32633" if image is pole else "EPSG:3832")
    with pytest.raises(ValueError, match="EPSG:4326 tears this image apart"):
        mapped(date_line, model, tmp_path, crs="EPSG:4326")
    with pytest.raises(ValueError, match=r"--crs EPSG:5703: no CRS of a map"):
        mapped(pole, model, tmp_path, crs="EPSG:5703")


NOWHERE = {   # CRS and transform of rasters of which no size on the ground is known
    "the Moon": ("+proj=longlat +R=1737400 +no_defs", rasterio.Affine.scale(1e-5, -1e-5)),
    "a building site": (LOCAL, PLACE["transform"]),
    "no transform": ("EPSG:32631", rasterio.Affine.identity()),
}


@pytest.mark.parametrize("layer", ["areas.csv", "vector.parquet", "vector.gpkg"])
@pytest.mark.parametrize("where", NOWHERE)
def test_a_raster_that_lies_nowhere_has_areas_in_pixels(scene, model, tmp_path, where, layer):
    geopandas = pytest.importorskip("geopandas")
    from rs_zeroseg.use.segment import segment_file
    crs, transform = NOWHERE[where]
    source = write(tmp_path/"a.tif", scene, crs=crs, transform=transform)

    segment_file(source, WORDS, tmp_path/"map.tif", model, progress=False, **{layer.split(".")[0]: tmp_path/layer})

    read = geopandas.read_parquet if layer.endswith("parquet") else geopandas.read_file
    table = read(tmp_path/layer)
    assert (table.pixels.astype(int) > 0).any()
    unknown = table.hectares == "" if layer == "areas.csv" else table.area_m2.isna()
    assert unknown.all()


# ---- 9. messages: one right line each

@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_a_word_that_is_the_name_of_no_word_is_refused(scene, model, tmp_path, word):
    "The shares of a map are named by its words and by none."
    source = write(tmp_path/"a.tif", scene)

    with pytest.raises(ValueError, match="a.tif: 'none' stands for pixels that are none of the words; leave this word"):
        segment(source, ["road", word], tmp_path/"map.tif", model, progress=False)


@pytest.mark.parametrize("value", [300., 1.5, -1., float("nan")])
def test_a_nodata_value_that_bytes_cannot_hold_is_an_error(scene, model, tmp_path, value):
    with pytest.raises(ValueError, match="uint8 numbers hold no such value; give a whole number of 0 to 255"):
        mapped(write(tmp_path/"a.tif", scene), model, tmp_path, nodata=value)


def test_tiny_numbers_are_stretched_as_large_ones(scene, model, tmp_path):
    large, tiny = (mapped(write(tmp_path/f"{unit}.tif", scene*np.float32(unit)), model, tmp_path)
                   for unit in (100., 1e-12))

    assert agree(large.labels, tiny.labels) > .99


@pytest.mark.parametrize("top, says", [(1, True), (20, True), (60, False)])
def test_bytes_that_are_nearly_black_are_said(scene, model, tmp_path, top, says):
    dark = (scene.astype(int)*top//255).astype(np.uint8)

    found = mapped(write(tmp_path/"a.tif", dark), model, tmp_path)

    assert ("so it is black for the model" in found.said) == says
    assert "black for the model" not in mapped(tmp_path/"a.tif", model, tmp_path, stretch="percent").said


def test_control_points_are_said_to_be_no_place(scene, model, tmp_path):
    corners = [rasterio.control.GroundControlPoint(r, c, 3 + c/1e5, 48 - r/1e5) for r in (0, 64) for c in (0, 64)]
    path = tmp_path/"a.tif"
    with rasterio.open(path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8") as dst:
        dst.write(scene)
        dst.gcps = corners, rasterio.CRS.from_epsg(4326)

    found = mapped(path, model, tmp_path)

    assert "its place is given by 4 control points, which are not read" in found.said and found.crs is None


def test_a_gsd_far_from_that_of_the_model_is_said(scene, model, tmp_path):
    assert "--gsd 20: the model was made for" in mapped(write(tmp_path/"a.tif", scene), model, tmp_path, gsd=20.).said

@pytest.fixture(scope="module")
def odd(tmp_path_factory, scene):
    "A folder of inputs that cannot be mapped as they are."
    from scipy.io import netcdf_file
    folder = tmp_path_factory.mktemp("odd")
    (folder/"empty").mkdir()
    write(folder/"grey.tif", scene[:1])
    write(folder/"a.tif", scene)
    with netcdf_file(folder/"many.nc", "w") as file:
        for name, size in (("y", 4), ("x", 5)):
            file.createDimension(name, size)
        for name in ("red", "green", "blue"):
            file.createVariable(name, "f4", ("y", "x"))[:] = 1
    return folder


LINES = {   # arguments after `segment`; {} is the folder
    "an empty folder": ("{}/empty", "empty: a folder without image files"),
    "a grey picture": ("{}/grey.tif", "grey.tif: 1 band(s), but red, green and blue are needed"),
    "a netCDF": ("{}/many.nc", "many.nc: it holds 3 images; choose one: netcdf:"),
    "a remote path": ("/vsicurl/http://127.0.0.1:9/a.tif", "/vsicurl/http://127.0.0.1:9/a.tif: cannot be opened (CURL"),
    "a pattern": ("{}/*.jp2", "*.jp2: no file fits this pattern"),
    "several files, one missing": ("{}/a.tif {}/b.tif", "b.tif: no such file"),
    "a wrong threshold": ("{}/a.tif --threshold 2", "'--threshold': 2.0 is not in the range 0<=x<=1"),
    "a threshold that is no number": ("{}/a.tif --threshold high", "'--threshold': 'high' is not a valid float"),
    "wrong bands": ("{}/a.tif --bands 4,3,2", "a.tif: band 4 is asked for, but there are 3"),
    "no bands": ("{}/a.tif --bands red", "--bands red: give red, green and blue as --bands 4,3,2"),
    "a wrong stretch": ("{}/a.tif --stretch 9,3", "--stretch 9,3: give two values"),
    "a wrong nodata": ("{}/a.tif --nodata black", "--nodata black: give a number, declared or none"),
    "a wrong CRS": ("{}/a.tif --crs EPSG:1", "--crs EPSG:1: no CRS that is known"),
    "a wrong size": ("{}/a.tif --gsd fine", "--gsd fine: give metres per pixel"),
    "a wrong area": ("{}/a.tif --aoi town", "--aoi town: neither four numbers nor a file"),
    "an area elsewhere": ("{}/a.tif --aoi 0,0,1,1", "--aoi 0,0,1,1: nothing of the image lies there"),
}


@pytest.mark.parametrize("case", LINES)
def test_one_right_line(odd, run, case, tmp_path):
    arguments, says = LINES[case]

    done = run("segment", *arguments.format(odd, odd).replace("{}", str(odd)).split(), "--words", "road",
               "--out", tmp_path/"map.tif")

    assert done.exit_code == 2 and says in done.output, done.output
    assert done.output.startswith("Error: ") and done.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_one_image_of_a_netcdf_opens_by_its_name(odd, model, tmp_path):
    found = mapped(f"netcdf:{odd}/many.nc:red", model, tmp_path, bands=(1,))

    assert found.labels.shape == (4, 5)


def test_the_command_says_which_bands_it_took(scene, run, tmp_path):
    source = write(tmp_path/"a.tif", scene[::-1], ["blue", "green", "red"])

    done = run("segment", source, "--words", "road,water", "--out", tmp_path/"map.tif")

    assert done.exit_code == 0 and "red, green, blue: bands 3, 2, 1 (its colour tags)" in done.output

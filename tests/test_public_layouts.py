"data_scripts/: the public sets as they really come. Each test plants the wrong layout beside the right one, or is one."
import dataclasses
import json
import shutil
import zipfile

import numpy as np
import pytest
from data_sets import NAMES, run_script, script, unpacked, written
from PIL import Image

from rs_zeroseg.data import command, prepare, recipes
from rs_zeroseg.data.labels import IGNORE
from rs_zeroseg.training.doctor import check_data

LAYOUTS = [(name, layout.name) for name in NAMES for layout in script(name).RECIPE.layouts]
BESIDE = [(name, one, other) for name, one in LAYOUTS for again, other in LAYOUTS if name == again and one != other]
SAME_NAMES = {"gsnet", "mmsegmentation"}       # Potsdam: the same folders and files, other codes


def layout_of(name, layout):
    "One layout of a script's recipe."
    return next(one for one in script(name).RECIPE.layouts if one.name == layout)


def folder_of(name, layout, folder):
    "A miniature of that layout, unpacked into a folder; and its truth."
    recipe = script(name).RECIPE
    sources, truth = recipes.make_miniature(recipe, folder.parent / f"raw-{layout}", layout_of(name, layout))
    return unpacked(sources, folder), truth


def picture(path, pixels=(90, 120, 60), size=(12, 11)):
    "A picture of one colour or code under that path."
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(pixels, int) else "RGB"
    Image.new(mode, size, pixels).save(path)
    return path


def codes(path, values):
    "A mask of columns that hold these codes."
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.uint8(values), (11, 1))).save(path)
    return path


def last(capsys):
    "The last line on stderr."
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name,layout", LAYOUTS)
def test_each_layout_says_what_it_follows(name, layout):
    follows = layout_of(name, layout).follows

    assert follows.startswith("https://")
    if "github.com" in follows:
        assert ", " in follows or layout == "published", "a repository, and the file in it"


@pytest.mark.parametrize("name,one,other", BESIDE)
def test_the_other_layout_beside_it_changes_nothing(tmp_path, capsys, name, one, other):
    mine, split = layout_of(name, one), next(iter(layout_of(name, one).splits))
    source, truth = folder_of(name, one, tmp_path / "both")
    folder_of(name, other, source)

    code = run_script(name, [source], tmp_path / "out", split, "--layout", one)

    if {one, other} == SAME_NAMES or {one, other} == {"flair1", "flair2"}:
        assert code == 2 and "give only one of them" in last(capsys)
        return
    assert code == 0
    masks = written(tmp_path / "out")
    assert set(masks) <= set(truth)
    for key, mask in masks.items():
        np.testing.assert_array_equal(mask, truth[key])
    assert prepare.read_manifest(tmp_path / "out")["follows"] == mine.follows


@pytest.mark.parametrize("name,one,other", [b for b in BESIDE if {*b[1:]} != SAME_NAMES])
def test_the_other_layout_alone_is_refused(tmp_path, capsys, name, one, other):
    split = next(iter(layout_of(name, one).splits))
    source, _ = folder_of(name, other, tmp_path / "other")

    assert run_script(name, [source], tmp_path / "out", split, "--layout", one) == 2

    assert not (tmp_path / "out").exists()


# FAST

def test_trainval_is_not_val(tmp_path, capsys):
    for kind, pixels in (("images", (9, 9, 9)), ("semlabels/gray", 3)):
        for name in ("train_1", "valid_1"):
            picture(tmp_path / "FAST/trainval" / kind / f"{name}.png", pixels)

    assert run_script("fast", [tmp_path / "FAST"], tmp_path / "out", "val") == 2

    line = last(capsys)
    assert "val is missing" in line and "valid.txt" in line


def test_a_list_that_is_no_text_is_named(tmp_path, capsys):
    source, _ = folder_of("fast", "samrs", tmp_path / "raw")
    (listed,) = source.rglob("valid.txt")
    listed.write_bytes(b"\xff\xfe9\0_\0")

    assert run_script("fast", [source], tmp_path / "out", "val", "--layout", "samrs") == 2

    assert f"{listed.as_posix()}: not a list of names" in last(capsys)


def test_trainval_beside_val_is_left_alone(tmp_path):
    for part in ("val", "trainval"):
        picture(tmp_path / "FAST" / part / "images/a.png")
        picture(tmp_path / "FAST" / part / "semlabels/gray/a.png", {"val": 3, "trainval": 4}[part])

    assert run_script("fast", [tmp_path / "FAST"], tmp_path / "out", "val") == 0

    assert {name: np.unique(mask).tolist() for name, mask in written(tmp_path / "out").items()} == {"a": [3]}


def test_an_object_free_picture_is_listed_and_left_out(tmp_path, capsys):
    picture(tmp_path / "val/images/a.png")
    picture(tmp_path / "val/images/noobject.png")
    picture(tmp_path / "val/semlabels/gray/a.png", 3)

    assert run_script("fast", [tmp_path / "val"], tmp_path / "out") == 0

    said = capsys.readouterr().out
    assert "1 pairs" in said and "noobject (no mask of that name)" in said
    manifest = prepare.read_manifest(tmp_path / "out")
    assert manifest["left_out"] == [{"name": "noobject", "file": "noobject.png", "reason": "no mask of that name"}]
    assert set(written(tmp_path / "out")) == {"a"}

    # the same again does nothing, and --strict refuses
    assert run_script("fast", [tmp_path / "val"], tmp_path / "out") == 0
    assert "already there and unchanged" in capsys.readouterr().out
    assert run_script("fast", [tmp_path / "val"], tmp_path / "out", "--strict") == 2
    assert "noobject.png: no mask" in last(capsys)


# LandDiscover50K

def test_a_joined_archive_may_have_any_name(tmp_path):
    "Put together by any program, with any folder or none around the two."
    source, truth = folder_of("landdiscover50k", "gsnet", tmp_path / "raw")
    for name, around in (("joined", ""), ("LD50KSplit-all", "somewhere/LD50K")):
        archive = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(archive, "w") as z:
            for path in (source / "LandDiscover50K").rglob("*.png"):
                z.write(path, f"{around}/{path.relative_to(source / 'LandDiscover50K').as_posix()}".lstrip("/"))

        assert run_script("landdiscover50k", [archive], tmp_path / name) == 0

        masks = written(tmp_path / name)
        assert set(masks) == set(truth)
        for key, mask in masks.items():
            np.testing.assert_array_equal(mask, truth[key])


# Potsdam

def potsdam(folder, *masks):
    "img_dir/val and ann_dir/val with masks that hold these codes."
    for n, values in enumerate(masks):
        picture(folder / f"img_dir/val/2_{13 + n}_0_0_512_512.png", size=(len(values), 11))
        codes(folder / f"ann_dir/val/2_{13 + n}_0_0_512_512.png", values)
    return folder


def first_row(out, name="val_2_13_0_0_512_512"):
    "What was written for a mask of columns."
    return written(out)[name][0].tolist()


def test_codes_that_both_have_are_asked_about(tmp_path, capsys):
    source = potsdam(tmp_path / "raw", [0, 1, 2, 3, 5])

    assert run_script("potsdam", [source], tmp_path / "out") == 2

    line = last(capsys)
    assert "--layout gsnet or --layout mmsegmentation" in line and "2_13_0_0_512_512.png" in line
    for layout, row in (("gsnet", [0, 1, 2, 3, IGNORE]), ("mmsegmentation", [IGNORE, 0, IGNORE, 4, 2])):
        assert run_script("potsdam", [source], tmp_path / layout, "--layout", layout) == 0
        assert first_row(tmp_path / layout) == row
        assert prepare.read_manifest(tmp_path / layout)["layout"] == layout


@pytest.mark.parametrize("values,layout,row", [
    ([0, 1, 2, 3, 4, 5, 6], "mmsegmentation", [IGNORE, 0, IGNORE, 4, 3, 2, 1]),
    ([0, 1, 2, 3, 4, 5, 255], "gsnet", [0, 1, 2, 3, 4, IGNORE, IGNORE]),
])
def test_a_code_of_one_alone_is_recognised(tmp_path, values, layout, row):
    source = potsdam(tmp_path / "raw", [1, 2], values)          # the first mask alone would be asked about

    assert run_script("potsdam", [source], tmp_path / "out") == 0

    assert first_row(tmp_path / "out", "val_2_14_0_0_512_512") == row
    assert prepare.read_manifest(tmp_path / "out")["layout"] == layout


def test_a_whole_set_without_buildings_is_not_the_converters(tmp_path):
    recipe = script("potsdam").RECIPE
    small = dataclasses.replace(recipe, layouts=tuple(
        dataclasses.replace(layout, splits={split: (pattern, 2) for split, (pattern, _) in layout.splits.items()})
        for layout in recipe.layouts))
    source = potsdam(tmp_path / "raw", [0, 1, 2], [3, 4, 5])

    assert command.main(small, "", ["--source", str(source), "--out", str(tmp_path / "out")]) == 0

    assert first_row(tmp_path / "out") == [0, 1, 2]


# FLAIR

def flair(folder, n, number, code=1):
    "A pair of FLAIR #n."
    for kind, short in (("aerial", "IMG"), ("labels", "MSK")):
        place = folder / f"flair_{n}_{kind}_test/D071_2020/Z2_UF/{'img' if short == 'IMG' else 'msk'}"
        picture(place / f"{short}_{number}.tif", (8, 9, 7) if short == "IMG" else code)


def test_two_releases_are_not_mixed(tmp_path, capsys):
    flair(tmp_path / "raw", 1, "062613")
    flair(tmp_path / "raw", 2, "061946")

    for split in ("flair1-test", "flair2-test"):
        assert run_script("flair", [tmp_path / "raw"], tmp_path / "out", split) == 2
        line = last(capsys)
        assert "flair_1_aerial_test/D071_2020/Z2_UF/img/IMG_062613.tif (flair1)" in line
        assert "flair_2_aerial_test/D071_2020/Z2_UF/img/IMG_061946.tif (flair2)" in line


def test_masks_of_the_other_release_are_a_mixture(tmp_path, capsys):
    flair(tmp_path / "raw", 1, "062613")
    flair(tmp_path / "raw", 2, "062613", code=7)
    shutil.rmtree(tmp_path / "raw/flair_1_labels_test")
    shutil.rmtree(tmp_path / "raw/flair_2_aerial_test")

    assert run_script("flair", [tmp_path / "raw"], tmp_path / "out", "flair1-test") == 2

    assert "give only one of them" in last(capsys)


def test_the_manifest_says_which_release(tmp_path, capsys):
    flair(tmp_path / "one", 1, "062613")
    flair(tmp_path / "two", 2, "061946")

    for n, folder in ((1, "one"), (2, "two")):
        assert run_script("flair", [tmp_path / folder], tmp_path / f"out{n}", f"flair{n}-test") == 0
    manifests = [prepare.read_manifest(tmp_path / f"out{n}") for n in (1, 2)]
    assert [(m["split"], m["layout"], m["published"]) for m in manifests] == [
        ("flair1-test", "flair1", 15700), ("flair2-test", "flair2", 16050)]

    # the other one is refused, and says its name
    assert run_script("flair", [tmp_path / "two"], tmp_path / "out", "flair1-test") == 2
    assert "only flair2-test" in last(capsys)


def test_training_images_of_flair_are_no_test(tmp_path):
    flair(tmp_path / "raw", 2, "061946")
    picture(tmp_path / "raw/flair_aerial_train/D041_2021/Z1_NN/img/IMG_000001.tif")
    picture(tmp_path / "raw/flair_labels_train/D041_2021/Z1_NN/msk/MSK_000001.tif", 2)

    assert run_script("flair", [tmp_path / "raw"], tmp_path / "out", "flair2-test") == 0

    assert set(written(tmp_path / "out")) == {"061946"}


def test_gsnets_flair_says_what_cannot_be_verified(tmp_path, capsys):
    source, _ = folder_of("flair", "gsnet", tmp_path / "raw")
    (source / "FLAIR/test").rename(source / "FLAIR_test")        # as it is called in other programs

    assert run_script("flair", [source], tmp_path / "out") == 0

    assert "cannot be verified" in capsys.readouterr().out
    assert "cannot be verified" in prepare.read_manifest(tmp_path / "out")["note"]


# iSAID

@pytest.mark.parametrize("split,names", [("train", {"train_P0002", "train_P0010"}), ("val", {"val_P0003"})])
def test_a_folder_with_train_and_val_gives_what_was_asked_for(tmp_path, split, names):
    source, truth = folder_of("isaid", "devkit", tmp_path / "raw")

    assert run_script("isaid", [source], tmp_path / "out", split) == 0

    assert set(written(tmp_path / "out")) == names < set(truth)


def test_the_two_pictures_of_the_devkit_are_left_out_by_its_name(tmp_path, capsys):
    source, _ = folder_of("isaid", "devkit", tmp_path / "raw")

    assert run_script("isaid", [source], tmp_path / "out", "train", "--strict") == 0

    manifest = prepare.read_manifest(tmp_path / "out")
    (left,) = manifest["left_out"]
    assert left["name"] == "train_P1527" and "iSAID devkit" in left["reason"]
    assert manifest["published"] == 1410, "one of the 1,411 is left out on purpose"
    assert "train_P1527 (passed over by the iSAID devkit" in capsys.readouterr().out


# files as they lie on disks

@pytest.fixture
def one_of_fast(tmp_path):
    "A folder with three pairs of FAST; what to change is up to the test."
    for n, name in enumerate("abc"):
        picture(tmp_path / f"raw/val/images/{name}.png")
        picture(tmp_path / f"raw/val/semlabels/gray/{name}.png", n)
    return tmp_path / "raw"


def test_a_palette_image_is_read_as_colours(tmp_path, one_of_fast):
    path = one_of_fast / "val/images/b.png"
    colours = np.random.default_rng(0).integers(0, 8, (11, 12, 3), dtype=np.uint8) * 32
    palette = Image.fromarray(colours).quantize(200)
    palette.save(path)

    assert run_script("fast", [one_of_fast], tmp_path / "out") == 0

    made = np.asarray(Image.open(tmp_path / "out/images/b.png"))
    np.testing.assert_array_equal(made, np.asarray(palette.convert("RGB")))
    assert set(written(tmp_path / "out")) == set("abc")


def test_masks_with_a_palette_or_three_equal_bands_are_numbers(tmp_path, one_of_fast):
    numbers = np.arange(12, dtype=np.uint8)[None].repeat(11, 0)
    mask = Image.fromarray(numbers)
    mask.putpalette(list(range(255, -1, -1)) * 3)
    mask.save(one_of_fast / "val/semlabels/gray/a.png")
    Image.fromarray(np.stack([numbers] * 3, -1)).save(one_of_fast / "val/semlabels/gray/b.png")

    assert run_script("fast", [one_of_fast], tmp_path / "out") == 0

    for name in "ab":
        np.testing.assert_array_equal(written(tmp_path / "out")[name], numbers)


def test_a_mask_with_three_different_bands_is_a_bad_pair(tmp_path, one_of_fast, capsys):
    picture(one_of_fast / "val/semlabels/gray/a.png", (1, 2, 3))

    assert run_script("fast", [one_of_fast], tmp_path / "out") == 0

    assert set(written(tmp_path / "out")) == set("bc")
    (bad,) = prepare.read_manifest(tmp_path / "out")["skipped"]
    assert bad["name"] == "a" and bad["reason"].startswith("a.png: 3 band(s)")
    assert "1 bad pairs left out: a (a.png: 3 band(s)" in capsys.readouterr().out


def test_capitals_and_what_macos_leaves(tmp_path):
    flair(tmp_path / "raw", 1, "1")
    for path in list((tmp_path / "raw").rglob("*.tif")):
        path.with_name("._" + path.name).write_bytes(b"\0\5\x16\7 left by macOS")
        path.rename(path.with_suffix(".TIF"))
        other = tmp_path / "raw/__MACOSX" / path.relative_to(tmp_path / "raw")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"left by macOS")

    assert run_script("flair", [tmp_path / "raw"], tmp_path / "out", "flair1-test") == 0

    assert set(written(tmp_path / "out")) == {"1"}
    assert prepare.read_manifest(tmp_path / "out")["unpaired"] == 0


@pytest.mark.parametrize("name,layout", LAYOUTS)
def test_no_pattern_begins_inside_a_name(name, layout):
    one = layout_of(name, layout)

    for image, mask in one.sample.pairs:
        for pattern, path in ((one.image, image), (one.mask, mask)):
            folders = path.split("/")
            renamed = ["/".join([*folders[:n], "old" + folders[n], *folders[n + 1:]]) for n in range(1, len(folders))]
            assert recipes.pair_name(pattern, path)
            assert recipes.pair_name(pattern, path + ".bak") is None
            assert None in [recipes.pair_name(pattern, other) for other in renamed]


# a few bad pairs, and too many

@pytest.mark.parametrize("bad,code", [(1, 0), (5, 0), (6, 2)])
def test_a_few_bad_pairs_are_left_out_and_many_stop(tmp_path, capsys, bad, code):
    for n in range(9):
        picture(tmp_path / f"raw/val/images/{n}.png")
        picture(tmp_path / f"raw/val/semlabels/gray/{n}.png", 99 if n < bad else 3)

    assert run_script("fast", [tmp_path / "raw"], tmp_path / "out") == code

    if code:
        assert "0.png: mask value 99" in last(capsys) and not (tmp_path / "out").exists()
        return
    manifest = prepare.read_manifest(tmp_path / "out")
    assert (manifest["pairs"], [one["name"] for one in manifest["skipped"]]) == (9 - bad, [*map(str, range(bad))])
    assert {path.stem for path in (tmp_path / "out/images").iterdir()} == {*map(str, range(bad, 9))}


def test_nothing_but_bad_pairs_is_refused(tmp_path, capsys):
    picture(tmp_path / "raw/val/images/a.png")
    picture(tmp_path / "raw/val/semlabels/gray/a.png", 99)

    assert run_script("fast", [tmp_path / "raw"], tmp_path / "out") == 2

    assert "a.png: mask value 99" in last(capsys) and not (tmp_path / "out").exists()


# the doctor

@pytest.mark.parametrize("pairs,ok", [(897, False), (898, True), (899, False)])
def test_the_doctor_refuses_fewer_and_more(tmp_path, pairs, ok):
    recipe = script("floodnet").RECIPE
    sources, _ = recipes.make_miniature(recipe, tmp_path / "raw")
    out = tmp_path / "data/floodnet/val+test"
    assert run_script("floodnet", sources, out) == 0
    manifest = prepare.read_manifest(out) | {"pairs": pairs}
    (out / "manifest.json").write_text(json.dumps(manifest))

    check = check_data("FloodNet", tmp_path / "data")

    assert check.ok is ok
    assert f"{pairs:,} of 898 pairs" in check.found or f"{pairs:,} pairs of 898" in check.found

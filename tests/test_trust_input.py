"What is foreseen is one line and exit code 2, and nothing of a stranger's is printed raw to a terminal."
import io
import json
import random
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from rs_zeroseg.data import command, recipes
from rs_zeroseg.data.labels import LabelSet, read_labels
from rs_zeroseg.data.vocab import shown
from rs_zeroseg.training.doctor import check_data
from rs_zeroseg.training.machine import report
from rs_zeroseg.use.options import one_line, table

OBEYED = "\x1b[2J", "\x07", "\x9b31m", "\x7f", "\u202e", "\r", "\0"   # what a terminal obeys, or may


def raw(text):
    "The characters in a text that a terminal would obey, line ends left out."
    return set(text) & {c for word in OBEYED for c in word if not c.isalnum() and c != "["}


# ---- a loss that is not finite

def test_a_loss_that_is_not_finite_is_one_line(drawn, run, tmp_path):
    done = run("finetune", "--data", drawn, "--preset", "pocket", "--steps", 20, "--crop-px", 32, "--workers", 0,
               "--batch-size", 2, "--precision", "no", "--lr", 1e38, "--out", tmp_path/"out")

    line = done.stderr.splitlines()[-1]
    assert done.exit_code == 2 and "Traceback" not in done.stderr
    assert line.startswith("Error: the loss is ") and "lower the learning rate (now 1e+38)" in line


# ---- labels

def relabelled(drawn, tmp_path, change):
    "A copy of the set whose labels.json was changed; `change` gets its content."
    copy = tmp_path/"copy"
    shutil.copytree(drawn, copy)
    content = json.loads((copy/"labels.json").read_text())
    change(content)
    (copy/"labels.json").write_text(json.dumps(content))
    return copy


WHERE = {
    "a category": lambda content, text: content["categories"][0].update(name=f"road{text}"),
    "a synonym": lambda content, text: content["categories"][0].update(synonyms=[f"road{text}"]),
    "the name": lambda content, text: content.update(name=f"set{text}"),
    "the licence": lambda content, text: content.update(licence=f"free{text}"),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "\u202e"])
def test_labels_with_a_control_character_are_refused(drawn, run, tmp_path, where, text):
    copy = relabelled(drawn, tmp_path, lambda content: WHERE[where](content, text))

    done = run("evaluate", "--data", copy)

    assert done.exit_code == 2 and done.output.count("\n") == 1 and raw(done.output) == set()
    assert "labels.json: " in done.output and "holds a control character; type it anew" in done.output


def test_two_categories_of_one_name_are_refused(drawn, run, tmp_path):
    "The report has a line for each name; the second one would replace the first."
    copy = relabelled(drawn, tmp_path, lambda content: content["categories"][1].update(
        name=f" {content['categories'][0]['name'].upper()}"))

    done = run("evaluate", "--data", copy, "--json")

    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert "labels.json: labels of " in done.output and "is listed twice; give each value a name" in done.output


def test_words_of_other_scripts_are_no_control_characters(tmp_path):
    words = ["дорога", "شارع", "می\u200cشود", "道路", "🌊"]
    labels = LabelSet("set", [{"value": i, "name": w, "synonyms": [w]} for i, w in enumerate(words)])

    assert labels.words == words


def test_a_labels_file_with_something_else_for_a_text(tmp_path):
    (tmp_path/"labels.json").write_text('{"name": 3, "categories": [{"value": 0, "name": "road"}]}')

    with pytest.raises(ValueError, match=r"labels\.json: 3 stands where a text should be"):
        read_labels(tmp_path/"labels.json")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\x9b31m", "\x7f", "\u202e"])
def test_a_word_with_a_control_character_is_refused(drawn, run, tmp_path, text):
    image = next((drawn/"images").iterdir())

    done = run("segment", image, "--words", f"road,tr{text}ee", "--out", tmp_path/"map.tif")

    assert done.exit_code == 2 and "no text" in done.output and raw(done.output) == set()


@pytest.mark.parametrize("text", OBEYED)
def test_messages_and_tables_show_the_code(text):
    assert raw(one_line(f"town{text}.tif: no such file")) == set()
    assert raw(table([{"word": f"road{text}", "area": 1.}])) == set()
    assert raw(shown(text)) == set()


def test_the_name_of_a_file_is_not_printed_raw(drawn, run, tmp_path):
    copy = tmp_path/"copy"
    shutil.copytree(drawn, copy)
    image = next((copy/"images").iterdir())
    try:
        image.rename(image.with_name("a\x1b[2J.tif"))
    except OSError:
        pytest.skip("this system allows no such name")

    done = run("evaluate", "--data", copy)

    assert done.exit_code == 2 and raw(done.output) == set() and r"\x1b[2J.tif" in done.output


# ---- a manifest that is not ours

SAMPLE = recipes.Sample(tuple((f"toy.zip/img/{n}.png", f"toy.zip/lbl/{n}.png") for n in (1, 2)), size=(40, 48))
LAYOUT = recipes.Layout("toy", r"img/(\d+)\.png", r"lbl/(\d+)\.png", (1, 2), {"all": ("", None)}, SAMPLE, "a page")
RECIPE = recipes.Recipe("FLAIR", (("roof", "#ff0000", ""), ("lake", "#0000ff", "")), (LAYOUT,), "none", "nobody")
NOT_OURS = ["[]", "3", "{", "\x00", '{"files": 3}', '{"data": "FLAIR", "split": "all"}',
            '{"files": {"a": 1}, "data": 7}', '{"data": "FLAIR", "split": "all", "files": ["a"]}',
            '{"data": "\\u001b[2J", "split": "all", "files": {}}',
            '{"data": "FLAIR", "split": "all", "files": {}, "skipped": [3]}',
            '{"data": "FLAIR", "split": "all", "files": {}, "pairs": "many", "published": []}']



@pytest.fixture
def archive(tmp_path):
    "The archive of a small set."
    return recipes.make_miniature(RECIPE, tmp_path/"raw")[0][0]


def script(recipe, archive, out):
    "The command of a data script on one archive."
    return command.main(recipe, "", ["--archive", str(archive), "--out", str(out), "--strict"])


@pytest.mark.parametrize("content", NOT_OURS)
def test_a_manifest_that_is_not_ours_stops_prepare(archive, tmp_path, capsys, content):
    out = tmp_path/"out"
    out.mkdir()
    (out/"manifest.json").write_text(content)
    (out/"diary.txt").write_text("dear")

    code = script(RECIPE, archive, out)

    told = capsys.readouterr().err
    assert code == 2 and told.count("\n") == 1 and "not written by this script" in told and raw(told) == set()
    assert sorted(p.name for p in out.iterdir()) == ["diary.txt", "manifest.json"]


@pytest.mark.parametrize("content", NOT_OURS)
def test_a_manifest_that_is_not_ours_is_missing_to_the_doctor(tmp_path, content):
    folder = tmp_path/"flair"/"test"
    folder.mkdir(parents=True)
    (folder/"manifest.json").write_text(content)

    check = check_data("FLAIR", tmp_path)

    assert check.ok is False and raw(report([check])) == set()


# ---- a damaged zip

def test_a_flipped_bit_anywhere_in_a_zip_is_one_line(archive, tmp_path, capsys):
    "300 archives with a wrong bit: prepared, where it does no harm, or refused by name. Never a traceback."
    whole, draw, codes = archive.read_bytes(), random.Random(0), []
    directory = whole.index(b"PK\x01\x02")
    for n in range(300):
        content = bytearray(whole)
        at = draw.randrange(directory, len(whole)) if n % 2 else draw.randrange(len(whole))
        content[at] ^= 1 << draw.randrange(8)
        damaged = tmp_path/"damaged.zip"
        damaged.write_bytes(content)

        codes.append(script(RECIPE, damaged, tmp_path/f"out{n}"))

        told = capsys.readouterr().err.splitlines()[-1]
        assert codes[-1] in (0, 2) and raw(told) == set(), (n, at)
        if codes[-1]:
            assert "damaged.zip" in told or "PNG" in told or ".png" in told, (n, at, told)
            assert not (tmp_path/f"out{n}").exists()

    assert codes.count(2) > 100 and codes.count(0) > 20


def test_members_of_a_zip_by_every_method(tmp_path):
    "Damage in a member that is packed by deflate, bzip2 or lzma is told by the member's name."
    noise, file = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(noise).save(file, "BMP")
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path/f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as z:
            z.writestr("a.bmp", file.getvalue())
        content = bytearray(path.read_bytes())
        content[200:300] = bytes(100)
        path.write_bytes(content)

        with recipes.members([path]) as found, pytest.raises(ValueError, match=r"a\.bmp: cannot be taken out of"):
            recipes.take(found, next(iter(found)))

"""The page without a kernel: ONNX against PyTorch, tokenizer, numbers, guided looks, and how it is built."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from modules import module_at

from rs_zeroseg import load
from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.data.vocab import CATEGORIES, caption_words, unseen_words
from rs_zeroseg.use.choices import with_part
from rs_zeroseg.use.export import SCENES, Exported, export
from rs_zeroseg.use.reading import Reading, attention_precision, where_named

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "rs_zeroseg" / "use" / "static"
IMAGES = int(os.environ.get("EXPORT_IMAGES", 2))   # that ONNX and PyTorch are compared on; 20 take a minute
WORDS = [*caption_words(), *unseen_words()]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")

# what a tokenizer can do wrong: capitals, accents, punctuation, scripts, spaces, control and unknown characters
ODD = [
    "Tennis Court", "TENNIS-COURT", "Wälder", "forêt", "Ångström", "İstanbul", "straße", "naïve café", "l'eau",
    "o'clock", "a.b,c;d", "(parenthesis)", "50% slope", "$5", "C++", "e-mail@example.org", "under_score",
    "#tag", "x^2", "a|b~c`d", "“quoted”", "—dash—", "…", "¿qué?", "«guillemets»", "東京", "水 田", "漢字かな", "한국어",
    "дорога", "Дом", "طريق", "बाग", "ถนน", "ελιά", "Ωmega", "✈", "🛩 airplane", "👩‍🌾", "a\tb", "a\nb",
    "a\u00a0b", "a\u200bb", "a\u3000b", "a\x00b", "zero\ufffdchar", "\u202eright", "e\u0301", "ﬁeld", "Ⅷ", "½",
    "x" * 99, "x" * 101, "word " * 150, "supercalifragilistic", "hyper-spectral", "thoroughfares", "1234567890",
    "3.14", "٣", "²", "ﾊﾝｶｸ", "ǅ", "\u0345", "à la carte", "##ing", "[cls]", "[unk] thing", "a [sep] b",
    "don't", "'", "-", "_", "«", "।", "、", "𝒳", "𐍈",
]


@pytest.fixture(scope="module")
def model():
    return load("pocket")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    export(model, folder)
    return Exported(folder)


def as_batch(scene):
    return torch.from_numpy(scene.image).permute(2, 0, 1)[None]/255


def compare(model, exported, seed, words):
    "The largest difference of A_k and of S_k between ONNX and PyTorch, for equal word vectors."
    image, text_emb = as_batch(make_scene(seed, size=512)), model.encode_words(words)
    with torch.inference_mode():
        logits, attention = model.score(model.encode_image(image), text_emb)
    maps = exported.ask(exported.encode_image(image.numpy()), text_emb.numpy())
    ours = torch.from_numpy(maps.attention).sigmoid(), torch.from_numpy(maps.logits).sigmoid()
    return [float((a - b[0]).abs().max()) for a, b in zip(ours, (attention, logits.sigmoid()))]


@pytest.mark.parametrize("seed", range(IMAGES))
def test_the_maps_of_50_words_are_those_of_pytorch(model, exported, seed):
    assert max(compare(model, exported, seed, WORDS[seed % 5::5][:50])) < 1e-3


def test_a_level_of_mscam_is_left_out(model, exported):
    image, text_emb = as_batch(make_scene(7, size=512)), model.encode_words(["road", "roof"])
    other = with_part(model, "MS-CAM level 2 only")
    with torch.inference_mode():
        logits, _ = other.score(other.encode_image(image), text_emb)
    maps = exported.ask(exported.encode_image(image.numpy(), (0, 1, 0)), text_emb.numpy())
    assert np.abs(maps.logits - logits[0].numpy()).max() < 1e-3


# JavaScript

def run_node(script, given):
    "What a module beside the page's own prints as JSON; it gets `given` as JSON."
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=STATIC, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


TOKENIZE = """
import fs from "node:fs";
const source = name => "data:text/javascript," + encodeURIComponent(fs.readFileSync(name, "utf8"));
const { readVocabulary, tokenize } = await import(source("wordpiece.js"));
const { vocabulary, texts } = JSON.parse(fs.readFileSync(0, "utf8"));
const map = readVocabulary(vocabulary.join("\\n"));
console.log(JSON.stringify(texts.map(text => tokenize(text, map))));
"""


@needs_node
def test_the_tokenizer_of_the_page_gives_the_ids_of_tokenizers(model):
    tokenizer, template = model.text.tokenizer, model.text.template
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    texts = [template.format(word) for word in (*WORDS[::2], *ODD)] + ODD
    assert len(texts) >= 200
    ours = run_node(TOKENIZE, dict(vocabulary=[piece for piece, _ in pieces], texts=texts))
    wrong = [text for text, ids in zip(texts, ours) if ids != tokenizer.encode(text).ids]
    assert wrong == []


MEASURE = """
import fs from "node:fs";
const source = name => "data:text/javascript," + encodeURIComponent(fs.readFileSync(name, "utf8"));
const { averagePrecision, resize } = await import(source("maps.js"));
const { map, grid, size, scores, there } = JSON.parse(fs.readFileSync(0, "utf8"));
const resized = resize(Float32Array.from(map), grid, size);
const quality = averagePrecision(Float32Array.from(scores), Uint8Array.from(there));
console.log(JSON.stringify({ resized: [...resized], ...quality }));
"""


@needs_node
def test_resizing_and_average_precision_are_those_of_pytorch():
    from torchmetrics.functional.classification import binary_average_precision
    rng = torch.Generator().manual_seed(0)
    grid = torch.rand(8, 8, generator=rng)
    scores = (torch.rand(3000, generator=rng)*50).round()/50               # with many equal ones
    there = (torch.rand(3000, generator=rng) < scores).long()

    given = dict(map=grid.flatten().tolist(), grid=8, size=20, scores=scores.tolist(), there=there.tolist())
    told = run_node(MEASURE, given)

    expected = torch.nn.functional.interpolate(grid[None, None], (20, 20), mode="bilinear")[0, 0]
    assert np.allclose(told["resized"], expected.flatten(), atol=1e-6)
    assert told["ap"] == pytest.approx(100*binary_average_precision(scores, there).item(), abs=1e-3)
    assert told["chance"] == pytest.approx(100*there.float().mean().item())


# The guided looks say what is so

def missions():
    return json.loads((STATIC / "missions.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def readings(model):
    by_name = {}
    for one in SCENES:
        scene = make_scene(one.seed, size=512)
        by_name[one.name] = Reading(model, as_batch(scene)[0], scene.mask)
    return by_name


def share(reading, word, threshold):
    return float((reading.ask([word])[0].probability >= threshold).mean())


FAULTS = """
import fs from "node:fs";
const { faultOf } = await import("data:text/javascript," + encodeURIComponent(fs.readFileSync("missions.js", "utf8")));
const { looks, scenes } = JSON.parse(fs.readFileSync(0, "utf8"));
console.log(JSON.stringify(looks.map(look => faultOf(look, scenes))));
"""
WRONG = (
    (dict(title=""), "texts"),
    (dict(scene="moon"), "the scene moon is none of airfield"),
    (dict(word="cheese"), "the word cheese"),
    (dict(answer=3), "answer is the place"),
    (dict(reveal="{size|road}"), "{size|road} is none of the numbers"),
)


@needs_node
def test_a_mission_with_a_fault_is_named():
    good = missions()
    looks = [*good, *(good[0] | change for change, _ in WRONG)]
    told = run_node(FAULTS, dict(looks=looks, scenes=[one.name for one in SCENES]))
    assert told[:len(good)] == [""]*len(good)
    for fault, (_, expected) in zip(told[len(good):], WRONG):
        assert expected in fault


def test_what_the_missions_claim_holds(model, readings):
    looks = {mission["title"]: mission for mission in missions()}

    ap, chance = attention_precision(readings["airfield"], "thoroughfare")
    assert ap > 4*chance and looks["A word it never saw"]["answer"] == 1

    town, words = readings["town"], looks["Two words that fight for a roof"]["words"]
    roofs = town.labels(words, model.threshold)[town.truth == list(CATEGORIES).index("building")]
    assert [int((roofs == k).sum()) for k in (-1, 0)] > [len(roofs)/2, 0]

    coast = readings["coast"]
    assert .1 < share(coast, "boat", .9)/share(coast, "boat", .38) < .5

    railway = readings["railway"]
    with torch.inference_mode():
        other = Reading(with_part_without_level_3(model), railway.image, railway.truth)
    assert abs(attention_precision(other, "railway")[0] - attention_precision(railway, "railway")[0]) < 1
    assert np.abs(other.ask(["railway"])[0].probability - railway.ask(["railway"])[0].probability).max() < .01

    assert share(coast, "submarine", .38) > 0 and share(coast, "piano", .38) == 0
    assert not any(where_named(coast.truth, word).any() for word in ("submarine", "piano"))


def with_part_without_level_3(model):
    import copy
    other = copy.deepcopy(model)
    for parameter in other.mscam.lateral[2].parameters():
        torch.nn.init.zeros_(parameter)
    return other


# The tool

def site():
    return module_at(ROOT / "tools" / "site.py")


def test_every_file_of_the_page_is_copied():
    "What a module of the page imports lies beside it."
    import re
    tool = site()
    for name in (name for name in (*tool.PAGE_FILES, "explorer.html") if name.endswith((".js", ".html"))):
        text = (STATIC / name).read_text(encoding="utf-8")
        wanted = set(re.findall(r'from "\./([\w.-]+\.js)"', text)) | set(re.findall(r'URL\("\./([\w.-]+\.js)"', text))
        assert wanted <= set(tool.PAGE_FILES), name


def test_without_npm_one_line_says_so(tmp_path):
    env = dict(os.environ, PATH=str(tmp_path))
    done = subprocess.run([sys.executable, ROOT / "tools" / "site.py", "--out", tmp_path / "site"], env=env,
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: npm: not found; install Node.js")
    assert not (tmp_path / "site").exists()

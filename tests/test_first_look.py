"""What a newcomer meets first: the words of the demo, of the explorer and of lesson 1 are in the scenes they ask about.

One word is absent on purpose, and the text beside it says so."""
import ast
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_zeroseg.data.pocket import demo_scene, make_scene
from rs_zeroseg.data.vocab import ABSENT, CATEGORIES, caption_words, unseen_words
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.use.choices import read_source
from rs_zeroseg.use.explore import AttentionExplorer
from rs_zeroseg.use.map_commands import DEMO_WORDS, NEXT
from rs_zeroseg.use.reading import Reading, attention_precision

NBS = Path(__file__).resolve().parents[1]/"nbs"
LESSON = NBS/"workshop"/"01_words_and_pixels.ipynb"
ON_PURPOSE = "volcano"


def source(path, kind):
    "All code or all text of a notebook."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)


def split(text):
    return [word.strip() for word in text.split(",")]


def shares(mask, words):
    "Word -> share of the pixels that it names."
    named = caption_words() | unseen_words()
    codes = {word: [list(CATEGORIES).index(category) for category in named.get(word, ())] for word in words}
    return {word: float(np.isin(mask, code).mean()) for word, code in codes.items()}


def rare(mask, words):
    "The words that name less than a fiftieth of the pixels."
    return [word for word, share in shares(mask, words).items() if share < .02]


def test_the_words_of_the_demo_are_in_its_scene():
    mask = demo_scene().mask

    assert rare(mask, DEMO_WORDS) == []
    assert rare(mask, split(re.search('{scene} --words "(.*?)"', NEXT)[1])) == []


def test_a_word_that_is_not_there_is_noticed():
    assert rare(demo_scene().mask, ["road", "volcano", "railway"]) == ["volcano", "railway"]


@pytest.fixture(scope="module")
def explored():
    "Truth of the explorer's own scene."
    given = inspect.signature(AttentionExplorer.__init__).parameters
    return read_source(given["source"].default)[1], split(given["words"].default)


def test_the_words_of_the_explorer_are_in_its_scene(explored):
    mask, words = explored

    assert rare(mask, words) == []


def test_the_explorers_text_names_what_is_in_its_scene(explored):
    mask, _ = explored
    path, = NBS.glob("6_use/*_explore.ipynb")
    text = source(path, "markdown")

    typed = split(re.search('Type "(.*?)"', text)[1])
    clicked = re.search(r"Click the ([\w ]+)\.", text)[1]
    compared = re.search(r'Compare \$A_k\$ and \$S_k\$ of "(.*?)"', text)[1]

    assert rare(mask, [*typed, clicked, compared]) == [ON_PURPOSE]
    assert f"A {ON_PURPOSE} is not" in text
    assert ON_PURPOSE in ABSENT


def test_the_words_of_lesson_1_are_in_its_scene():
    tree = ast.parse(source(LESSON, "code"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "make_scene"]
    given = {ast.unparse(node.targets[0]): node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)}

    call, = calls
    seed, size = ast.literal_eval(call.args[0]), ast.literal_eval(call.keywords[0].value)
    words = {name: ast.literal_eval(given[name]) for name in ("words", "asked", "mine")}
    missing = {name: rare(make_scene(seed, size=size).mask, asked) for name, asked in words.items()}

    assert missing == {"words": [], "asked": [], "mine": [ON_PURPOSE]}
    assert f"*{ON_PURPOSE.capitalize()}* is not in the scene, on purpose" in source(LESSON, "markdown")


@pytest.fixture(scope="module")
def demo():
    "The demo's scene, read by the shipped model."
    scene = demo_scene()
    return Reading(load("pocket"), torch.from_numpy(scene.image).permute(2, 0, 1)/255, scene.mask)


@pytest.mark.parametrize("word", DEMO_WORDS)
def test_attention_lights_the_word_of_the_demo(demo, word):
    precision, chance = attention_precision(demo, word)

    assert precision >= 3*chance

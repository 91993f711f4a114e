"""The outlines drawn on real pictures, and the tool that scores a model on them. No picture is needed."""
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from modules import module_at
from PIL import Image

from rs_zeroseg.evidence.outlines import SIDE_PX, outline_mask, outline_scores, read_outlines, word_maps
from rs_zeroseg.model.segmenter import Features, Segmenter

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT/"nbs"/"5_evidence"/"outlines.json"
PICTURES = {"tennis court": "tenniscourt", "storage tank": "storagetanks", "airplane": "airplane"}
# share of a word's pixels that the outlines cover, percent, and area of one outline in pixels
PLAUSIBLE = {"tennis court": ((15, 35), (5000, 26000)), "storage tank": ((3, 10), (500, 9500)),
             "airplane": ((6, 16), (30, 7500))}


@pytest.fixture(scope="module")
def outlines():
    return read_outlines(FILE)


@pytest.fixture(scope="module")
def tool():
    return module_at(ROOT/"tools"/"outlines.py")


def area(points):
    "Of a polygon that does not cross itself, by its corners, in square pixels."
    x, y = np.array(points, float).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))/2


def side_of(a, b, p):
    "Above 0 if `p` lies on one side of the line through `a` and `b`, below 0 on the other."
    return (b[0] - a[0])*(p[1] - a[1]) - (b[1] - a[1])*(p[0] - a[0])


def crossings(points):
    "Pairs of edges of a polygon that cross."
    edges = list(zip(points, points[1:] + points[:1]))
    return [(one, other) for one, other in itertools.combinations(edges, 2)
            if side_of(*one, other[0])*side_of(*one, other[1]) < 0
            and side_of(*other, one[0])*side_of(*other, one[1]) < 0]


def test_a_crossing_is_found():
    bow_tie = [[0, 0], [4, 4], [4, 0], [0, 4]]

    assert len(crossings(bow_tie)) == 1
    assert crossings([[0, 0], [4, 0], [4, 4], [0, 4]]) == []


def test_ten_pictures_per_word(outlines):
    expected = {word: [f"{name}{n}" for n in range(80, 90)] for word, name in PICTURES.items()}

    assert {word: list(pictures) for word, pictures in outlines.items()} == expected
    assert all(pictures.values() for pictures in outlines.values())


@pytest.mark.parametrize("word", PICTURES)
def test_outlines_lie_in_the_picture_and_do_not_cross_themselves(outlines, word):
    every = [(picture, points) for picture, polygons in outlines[word].items() for points in polygons]

    outside = [p for p, points in every if not (0 <= np.min(points) and np.max(points) <= SIDE_PX)]
    crossed = [(p, points[0]) for p, points in every if crossings(points)]

    assert outside == []
    assert crossed == []


@pytest.mark.parametrize("word", PICTURES)
def test_areas_are_plausible(outlines, word):
    (low, high), (smallest, largest) = PLAUSIBLE[word]
    areas = [area(points) for polygons in outlines[word].values() for points in polygons]

    masks = torch.stack([outline_mask(polygons) for polygons in outlines[word].values()])

    assert smallest <= min(areas) and max(areas) <= largest
    assert low <= 100*float(masks.float().mean()) <= high
    assert int(masks.sum()) == pytest.approx(sum(areas), rel=.01)      # outlines of one picture hardly overlap


def test_one_outline_a_line():
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if '"picture":' in line]

    assert [json.loads(line.rstrip(",")) for line in lines] == json.loads(FILE.read_text(encoding="utf-8"))["outlines"]


def test_the_header_says_who_drew_them_and_the_licence():
    told = json.loads(FILE.read_text(encoding="utf-8"))

    assert "by eye" in told["drawn"] and "public domain" in told["pictures"]
    assert list(told["rules"]) == list(PICTURES)


class Colour(Segmenter):
    "A_k is the red and S_k the green of a pixel, whatever the word; keeps the sizes that it saw."
    def __init__(self):
        super().__init__(None)
        self.sizes = []

    def encode_words(self, words):
        return torch.ones(len(words), 1)

    def encode_image(self, image):
        size = (image.shape[-2], image.shape[-1])
        self.sizes.append(size)
        return Features(image, None, size, size)

    def score(self, features, text_emb):
        return features.vlm[:, 1:2], features.vlm[:, :1]


def test_maps_come_back_at_the_size_of_the_picture():
    model, image = Colour(), torch.zeros(3, 40, 60)
    image[0, :20], image[1, :, 30:] = 1, 1

    attention, logits = word_maps(model, image, "thing", .5)

    assert model.sizes == [(20, 30)]
    assert attention.shape == logits.shape == (40, 60)
    assert torch.equal(attention > .5, image[0] > 0) and torch.equal(logits > .5, image[1] > 0)


@pytest.fixture
def two_pictures(tmp_path):
    "Pictures red in their outline and black elsewhere, and their outlines."
    made = {"one": [[[20, 40], [90, 40], [90, 70]]], "two": [[[8, 8], [16, 8], [16, 200], [8, 200]]]}
    for name, polygons in made.items():
        pixels = np.zeros((SIDE_PX, SIDE_PX, 3), "uint8")
        pixels[outline_mask(polygons).numpy(), 0] = 255
        (tmp_path/name).mkdir()
        Image.fromarray(pixels).save(tmp_path/name/f"{name}.tif")
    return tmp_path, {"thing": made}


def test_scores_tell_a_perfect_map_from_one_that_knows_nothing(two_pictures):
    folder, outlines = two_pictures

    whole, half = outline_scores(Colour(), folder, outlines)

    assert (whole["scale"], half["scale"], whole["pictures"]) == (1., .5, 2)
    assert whole["attention_ap"] == 100 and half["attention_ap"] > 90
    assert whole["score_ap"] == whole["chance"] == half["chance"]           # no green anywhere: all pixels are equal


def test_one_threshold_for_all_pictures(two_pictures):
    "Two pictures, each with a perfect map of its own: together the fainter one loses."
    folder, outlines = two_pictures
    faint = np.array(Image.open(folder/"one"/"one.tif"))//2
    bright_ground = np.array(Image.open(folder/"two"/"two.tif"))
    bright_ground[..., 0] = np.maximum(bright_ground[..., 0], 200)
    Image.fromarray(faint).save(folder/"one"/"one.tif")
    Image.fromarray(bright_ground).save(folder/"two"/"two.tif")

    each = [next(outline_scores(Colour(), folder, {"thing": {name: polygons}}))["attention_ap"]
            for name, polygons in outlines["thing"].items()]
    together = next(outline_scores(Colour(), folder, outlines))["attention_ap"]

    assert each == [100, 100] and together < 90


def test_a_missing_and_a_resized_picture_are_named(two_pictures):
    folder, _ = two_pictures
    Image.new("RGB", (300, 200)).save(folder/"three.png")

    with pytest.raises(ValueError, match="no picture four"):
        list(outline_scores(Colour(), folder, {"thing": {"four": []}}))
    with pytest.raises(ValueError, match=r"three.png: 300 x 200 pixels"):
        list(outline_scores(Colour(), folder, {"thing": {"three": []}}))


@pytest.fixture
def thirty_pictures(tmp_path):
    "Pictures of noise under the names of those that were outlined."
    rng = np.random.default_rng(0)
    for pictures in read_outlines(FILE).values():
        for name in pictures:
            Image.fromarray(rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), "uint8")).save(tmp_path/f"{name}.png")
    return tmp_path


def test_the_tool_writes_a_line_per_word_and_scale(tool, thirty_pictures):
    out = thirty_pictures/"scores.jsonl"

    code = tool.main(["--images", str(thirty_pictures), "--scales", "0.25", "--out", str(out)])

    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert [(r["model"], r["word"], r["scale"]) for r in rows] == [("pocket", word, .25) for word in PICTURES]
    assert all(0 < r[name] < 100 for r in rows for name in ("chance", "attention_ap", "score_ap"))


def test_the_tool_says_in_one_line_what_is_missing(tool, tmp_path, capsys):
    code = tool.main(["--images", str(tmp_path), "--out", str(tmp_path/"scores.jsonl")])

    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and "no picture tenniscourt80: give the folder" in last
    assert not (tmp_path/"scores.jsonl").exists()


def test_the_stored_scores_belong_to_these_outlines(outlines):
    "Whatever the weights: chance, words and pictures are those of the file."
    lines = FILE.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    chance = {word: 100*float(torch.stack([outline_mask(p) for p in pictures.values()]).float().mean())
              for word, pictures in outlines.items()}

    assert {(r["word"], r["scale"]) for r in rows} >= set(itertools.product(PICTURES, (1., .5)))
    assert all(r["chance"] == pytest.approx(chance[r["word"]], abs=.006) and r["pictures"] == 10 for r in rows)

"Evaluation against independent counts: files to mIoU, windows, the pocket tiers, the threshold."
import json

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from PIL import Image

from rs_zeroseg.data.imagery import FolderDataset
from rs_zeroseg.data.labels import IGNORE, map_to_labels
from rs_zeroseg.data.pocket import DOMAINS, make_scene
from rs_zeroseg.data.vocab import ABSENT, CATEGORIES, NEVER_CAPTIONED, tier
from rs_zeroseg.evidence import experiments
from rs_zeroseg.evidence.evaluate import evaluate, evaluate_pocket
from rs_zeroseg.model.metrics import best_threshold, calibrate_threshold
from rs_zeroseg.model.protocols import blend_views, gsnet_size, gsnet_views, predict, predict_gsnet
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS, Features, Segmenter
from rs_zeroseg.use.raster import segment


class ByColour(Segmenter):
    "Pointwise: the word 'r/g/b' is a colour in percent."
    def __init__(self):
        super().__init__(None)
        self.one, self.images = torch.nn.Parameter(torch.ones(1)), 0

    def encode_words(self, words):
        return torch.tensor([[int(v)/100 for v in w.split("/")] for w in words])

    def encode_image(self, image):
        self.images += 1
        return Features(image, None, *[tuple(image.shape[-2:])]*2)

    def score(self, features, text_emb):
        return 1 - 9*(features.vlm[:, None] - text_emb[None, :, :, None, None]).square().sum(2), None


WORDS = ["90/10/10", "10/90/10", "10/10/90"]
CODES = {4: 0, 9: 1, 2: 2}                      # mask value -> index in labels.json; 7 is ignored there


@pytest.fixture
def dataset(tmp_path, tif):
    "Two noisy images of different size with noisy masks in odd codes; the third category is novel."
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path/kind).mkdir()
    for name, (h, w) in {"a": (40, 970), "b": (90, 33)}.items():
        tif(tmp_path/"images"/f"{name}.tif", rng.integers(0, 256, (3, h, w), dtype=np.uint8))
        tif(tmp_path/"masks"/f"{name}.tif", rng.choice([4, 9, 2, 7], (1, h, w)).astype(np.uint8))
    categories = [dict(value=v, name=WORDS[i], novel=i == 2) for v, i in CODES.items()]
    categories.append(dict(value=7, name="unclear", ignore=True))
    (tmp_path/"labels.json").write_text(json.dumps(dict(name="noise", categories=categories)), encoding="utf-8")
    return FolderDataset(tmp_path/"images", tmp_path/"masks", tmp_path/"labels.json")


def independent_iou(folder, threshold):
    "IoU per word in percent, from the files alone, in numpy."
    colours = np.array([[int(v)/100 for v in w.split("/")] for w in WORDS])
    hit, said, there = np.zeros(3), np.zeros(3), np.zeros(3)
    for path in sorted((folder/"images").iterdir()):
        with rasterio.open(path) as a, rasterio.open(folder/"masks"/path.name) as b:
            image, code = a.read()/255, b.read(1)
        chance = 1/(1 + np.exp(9*((image[None] - colours[:, :, None, None])**2).sum(1) - 1))
        label = np.where(chance.max(0) >= threshold, chance.argmax(0), -1)
        for value, k in CODES.items():
            hit[k] += ((label == k) & (code == value)).sum()
            there[k] += (code == value).sum()
            said[k] += ((label == k) & (code != 7)).sum()
    return 100*hit/(said + there - hit)


@pytest.mark.parametrize("threshold", [0., .3, .6])
def test_miou_is_an_independent_count(dataset, tmp_path, threshold):
    expected = independent_iou(tmp_path, threshold)

    result = evaluate(ByColour(), dataset, None, threshold, progress=False)

    np.testing.assert_allclose(result.table.iou, expected, atol=.05)          # a pixel may sit on the threshold
    means = [result.mean(), result.mean("base"), result.mean("novel")]
    np.testing.assert_allclose(means, [expected.mean(), expected[:2].mean(), expected[2]], atol=.05)
    told = json.loads(json.dumps(result.as_dict()))
    assert list(told["per_class"]) == [WORDS[i] for i in range(3)] and told["threshold"] == threshold


def test_none_is_a_miss_and_never_a_false_alarm(dataset):
    result = evaluate(ByColour(), dataset, threshold=1., progress=False)

    assert (result.mean(), result.pixel_accuracy) == (0, 0) and result.table.pixels.min() > 0


def test_other_words_for_the_same_categories(dataset):
    named = evaluate(ByColour(), dataset, progress=False)
    asked = evaluate(ByColour(), dataset, words=["10/10/90", "10/90/10", "90/10/10"], progress=False)

    assert list(asked.table.category) == WORDS and asked.table.word[0] == WORDS[2]
    assert not np.allclose(asked.table.iou, named.table.iou)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(PRESETS["pocket"])


def test_blocks_are_those_of_segment(model, tif, tmp_path):
    "The map that `segment` writes and the labels that are evaluated are the same, block for block."
    image = torch.from_numpy(make_scene(5, size=300).image).permute(2, 0, 1)
    words = ["road", "tree", "water", "grass"]
    tif(tmp_path/"in.tif", image.numpy())

    segment(tmp_path/"in.tif", words, tmp_path/"map.tif", model, 128, 32, threshold=0, progress=False)
    with rasterio.open(tmp_path/"map.tif") as src:
        written = map_to_labels(src.read(1))
    labels = predict(model, image/255, model.encode_words(words), 0., 128, 32)

    np.testing.assert_array_equal(labels.numpy(), written)


def fold_views(model, image, words):
    """(K,640,640) mean probability by another way: Pillow, and unfold and fold for the windows.

    The image is (3,H,W) bytes."""
    H, W = image.shape[1:]
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    short = np.asarray(picture.resize((round(W*640/min(H, W)), round(H*640/min(H, W))), Image.Resampling.BILINEAR))
    short = torch.from_numpy(short/np.float32(255)).permute(2, 0, 1)[None]
    square, whole = (F.interpolate(short, (n, n), mode="bilinear", align_corners=False) for n in (640, 384))
    views = F.unfold(square, 384, stride=256)[0].T.reshape(4, 3, 384, 384)
    with torch.no_grad():
        said = torch.cat([model.query(model.encode_image(v[None]), words).probability for v in (*views, whole[0])])
    windows, ones = said[:4].flatten(1).T[None], torch.ones(1, 1, 640, 640)
    times = F.fold(F.unfold(ones, 384, stride=256), (640, 640), 384, stride=256)
    mean = F.fold(windows, (640, 640), 384, stride=256)[0]/times[0]
    return (mean + F.interpolate(said[4:], (640, 640), mode="bilinear", align_corners=False)[0])/2


@pytest.mark.parametrize("size", [(96, 130), (700, 900)])
def test_gsnet_is_what_fold_and_pillow_give(model, size):
    "Smaller and larger than 640 px: the second is antialiased."
    big = torch.from_numpy(make_scene(5, size=900 if max(size) > 448 else 192).image).permute(2, 0, 1)
    image, words = big[:, :size[0], :size[1]], ["road", "tree", "water", "grass"]
    expected = fold_views(model, image, words)

    with torch.no_grad():
        said = [model.query(model.encode_image(view[None]), words).probability for view in gsnet_views(image/255)]
    mean = blend_views(torch.cat(said))
    best, index = F.interpolate(mean[None], size, mode="bilinear", align_corners=False)[0].max(0)
    level = float(best.median())
    labels = predict_gsnet(model, image/255, model.encode_words(words))
    some = predict_gsnet(model, image/255, model.encode_words(words), level)

    assert (mean - expected).abs().max() < .02 and (mean - expected).abs().mean() < 1e-3     # Pillow rounds twice
    assert (labels == index).all()
    assert (some == torch.where(best >= level, index, -1)).float().mean() > .999 and (some < 0).float().mean() > .4


def test_gsnet_sizes_as_detectron2_rounds_them():
    sizes = [(3000, 4000), (4000, 3000), (512, 512), (45, 52), (100, 1000), (640, 2561)]

    found = [gsnet_size(*size) for size in sizes]

    assert found == [(640, 853), (853, 640), (640, 640), (640, 740), (256, 2560), (640, 2560)]


def test_a_category_that_is_predicted_and_in_no_mask(dataset):
    "By the rule 'predicted-too' it is a 0 in the mean, by the other one it is nothing."
    kept = [dict(item) for item in dataset]
    for item in kept:
        item["mask"] = torch.where(item["mask"] == 2, IGNORE, item["mask"])         # the novel one occurs nowhere
        item["image"][:, 0, :3] = torch.tensor([.1, .1, .9])[:, None]               # and is seen here,
        item["mask"][0, :3] = 0                                                     # where it counts

    class Same(list):
        labels, words = dataset.labels, dataset.words

    by_rule = {rule: evaluate(ByColour(), Same(kept), progress=False, miou_rule=rule)
               for rule in ("present", "predicted-too")}

    (a, b, c), (a0, b0, c0) = (r.table.iou for r in by_rule.values())
    assert (a, b) == (a0, b0) and np.isnan(c) and c0 == 0
    told = by_rule["predicted-too"].as_dict()
    assert told["mIoU"] == pytest.approx((a + b)/3, abs=1e-3) and told["novel"] == 0
    assert (told["miou_rule"], told["protocol"]) == ("predicted-too", "native")
    assert by_rule["present"].as_dict()["novel"] is None


def test_a_row_of_the_ledger_names_protocol_and_rule(monkeypatch):
    monkeypatch.setattr(experiments, "train_setting", lambda *_: (None, []))
    monkeypatch.setattr(experiments, "stand_in_tallies", lambda model, n: {})
    monkeypatch.setattr(experiments, "map_of", lambda model: np.zeros((2, 2)))

    row = json.loads(json.dumps(experiments.run(experiments.Setting(), n=1)))

    assert (row["protocol"], row["miou_rule"]) == ("native", "present")


def best_words(model, scenes, words):
    "(N,H,W) index of the best word of each pixel, and its probability, by full-size logits."
    labels, chances = [], []
    for scene in scenes:
        image = torch.from_numpy(scene.image).permute(2, 0, 1)[None]/255
        with torch.no_grad():
            best = model.query(model.encode_image(image), words).logits[0].max(0)
        labels.append(best.indices.numpy())
        chances.append(best.values.sigmoid().numpy())
    return np.stack(labels), np.stack(chances)


def iou_of(label, mask, names):
    "Category -> IoU in percent, where it occurs; only pixels of these categories count."
    index = list(CATEGORIES).index
    counted = np.isin(mask, [index(c) for c in names])
    found = {}
    for k, category in enumerate(names):
        there, said = mask == index(category), counted & (label == k)
        if there.any():
            found[category] = 100*(there & said).sum()/(there | said).sum()
    return found


def ranking(score, there):
    "Average precision and AUROC in percent by their definitions, in numpy; equal scores count together."
    hits = np.array([[(there & (score >= v)).sum(), (score >= v).sum()] for v in np.unique(score[there])[::-1]])
    gained = np.diff(hits[:, 0], prepend=0)
    above = (score[there][:, None] > score[~there]).mean() + .5*(score[there][:, None] == score[~there]).mean()
    return 100*float((gained*hits[:, 0]/hits[:, 1]).sum()/there.sum()), 100*float(above)


@pytest.mark.parametrize("domain", ["floodnet", "landdiscover"])
def test_attention_of_each_tier_is_an_independent_count(model, domain):
    "A_k by name and by the first unseen word, on every second pixel of a row and of a column, all scenes together."
    names = DOMAINS[domain].words
    scenes = [make_scene(seed, domain, 96) for seed in (7, 8)]
    mask = np.stack([scene.mask[::2, ::2] for scene in scenes]).ravel()
    rows = []
    for category, word in [(c, w) for c in names for w in (c, CATEGORIES[c].unseen[0])]:
        there = mask == list(CATEGORIES).index(category)
        if not there.any():
            continue
        maps = []
        for scene in scenes:
            image = torch.from_numpy(scene.image).permute(2, 0, 1)[None]/255
            with torch.no_grad():
                attention = model.query(model.encode_image(image), [word]).attention
            maps.append(F.interpolate(attention, (96, 96), mode="bilinear", align_corners=False)[0, 0, ::2, ::2])
        rows.append((tier(word), 100*there.mean(), *ranking(torch.stack(maps).flatten().numpy(), there)))

    result = evaluate_pocket(model, domain, n=2, seed0=7, size=96, progress=False)

    for t in ("base", "novel", "unseen"):
        of_tier = np.array([row[1:] for row in rows if row[0] == t])
        expected = of_tier.mean(0) if len(of_tier) else [np.nan]*3
        found = [result[key][t] for key in ("attention_chance", "attention_ap", "attention_auroc")]
        np.testing.assert_allclose(found, expected, atol=.02)


@pytest.mark.parametrize("domain", ["floodnet", "landdiscover"])
def test_pocket_tiers_are_an_independent_count(model, domain):
    "base, novel, unseen and absent by full-size probabilities and plain numpy."
    names = DOMAINS[domain].words
    scenes = [make_scene(seed, domain, 96) for seed in (7, 8)]
    mask = np.stack([scene.mask for scene in scenes])
    rows = {}
    for words in (list(names), *([CATEGORIES[c].unseen[i] for c in names] for i in (0, 1))):
        found = iou_of(best_words(model, scenes, words)[0], mask, names)
        rows |= {(c, w): found[c] for c, w in zip(names, words) if c in found}
    label, chance = best_words(model, scenes, [*names, *ABSENT])
    absent = label >= len(names)

    result = evaluate_pocket(model, domain, n=2, seed0=7, size=96, progress=False)

    for t in ("base", "novel", "unseen"):
        expected = [v for (_, word), v in rows.items() if tier(word) == t]
        np.testing.assert_allclose(result[t], np.mean(expected) if expected else np.nan, atol=.02)
    false = [100*absent.mean(), 100*(absent & (chance >= .5)).mean()]
    np.testing.assert_allclose([result["absent"], result["absent_at_threshold"]], false, atol=.02)
    if domain == "floodnet":
        assert any(r["category"] in NEVER_CAPTIONED and r["tier"] == "unseen" for r in result["per_word"])


def test_pocket_scenes_are_encoded_once():
    class Counting(ByColour):
        def encode_words(self, words):
            return torch.rand(len(words), 3)

    counting = Counting()

    result = evaluate_pocket(counting, "flair", n=3, size=64, progress=False)

    assert counting.images == 3
    assert [result[key] for key in ("attention_ap", "attention_auroc", "attention_chance")] == [None]*3


def test_best_threshold_beats_every_other():
    g = torch.Generator().manual_seed(0)
    known, unknown = torch.rand(400, generator=g)**.5, torch.rand(300, generator=g)

    def balanced(t):
        return ((known >= t).float().mean() + (unknown < t).float().mean()).item()/2

    chosen = balanced(best_threshold(known, unknown))

    best = max(balanced(t) for t in torch.cat((known, unknown)).tolist())
    assert chosen == pytest.approx(best, abs=1e-6) and chosen > .55


def test_calibration_separates_what_was_asked_from_what_was_not():
    "A model that knows the mask: every threshold between its two answers is right."
    scenes = [make_scene(s, size=64) for s in range(3)]

    class Knows(ByColour):
        def encode_words(self, words):
            return torch.tensor([list(CATEGORIES).index(w) for w in words], dtype=torch.float)

        def encode_image(self, image):
            pixels = (image[0]*255).round().byte().permute(1, 2, 0).contiguous().numpy()
            mask = next(s.mask for s in scenes if (s.image == pixels).all())
            return Features(torch.from_numpy(mask), None, (64, 64), (64, 64))

        def score(self, features, text_emb):
            return torch.where(features.vlm == text_emb[:, None, None], 1.5, -.5)[None], None

    threshold = calibrate_threshold(Knows(), scenes)

    low, high = torch.tensor([-.5, 1.5]).sigmoid().tolist()
    assert low < threshold < high


def test_ignored_pixels_count_for_nothing(dataset):
    "Whatever is answered on them, the numbers stay."
    before = evaluate(ByColour(), dataset, progress=False)
    kept = [dict(item) for item in dataset]
    assert any((item["mask"] == IGNORE).any() for item in kept)
    red = torch.tensor([.9, .1, .1])[:, None, None]
    for item in kept:
        item["image"] = torch.where(item["mask"] == IGNORE, red, item["image"])

    class Same(list):
        labels, words = dataset.labels, dataset.words

    after = evaluate(ByColour(), Same(kept), progress=False)

    assert before.as_dict() == after.as_dict()

"""Faults that no run, map or table shows by itself: each test fails when the one in `tools/mutants.json` is planted."""
import json
import os
from dataclasses import replace
from itertools import count

import numpy as np
import psutil
import pytest
import rasterio
import torch
from rasterio.windows import Window
from safetensors.torch import load_file
from torch import nn

from rs_zeroseg.data import files
from rs_zeroseg.data.adapt import SampleDataset
from rs_zeroseg.data.bands import Look
from rs_zeroseg.data.files import one_run, whole_files
from rs_zeroseg.data.imagery import FolderDataset, crop_window, fill
from rs_zeroseg.data.labels import IGNORE, LabelSet
from rs_zeroseg.data.pocket import write_domain
from rs_zeroseg.data.rasters import look_at, scale_to_unit
from rs_zeroseg.data.show import IGNORE_COLOUR, NONE_COLOUR, colours_for, hex_to_rgb, map_colours
from rs_zeroseg.data.vocab import ABSENT, tier
from rs_zeroseg.evidence import experiments
from rs_zeroseg.evidence.evaluate import evaluate, evaluate_pocket
from rs_zeroseg.evidence.race import accounts
from rs_zeroseg.evidence.real_ground import closed_loss, withhold
from rs_zeroseg.evidence.statistics import interval
from rs_zeroseg.evidence.tables import missing
from rs_zeroseg.model.budget import count_parameters, macs, peak_memory_mb, skeleton
from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.protocols import spans
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS, Features, Segmenter
from rs_zeroseg.training import costs, doctor, finetune, machine, pretrain, segmentation
from rs_zeroseg.training.crops import Crops, area_shares, batches_of, pocket_crops, pocket_scenes
from rs_zeroseg.training.loop import TrainConfig, fit, learning_rate, parameter_groups
from rs_zeroseg.training.resume import Metrics
from rs_zeroseg.use.choices import Place, window_of
from rs_zeroseg.use.layers import dress_map
from rs_zeroseg.use.raster import request_of, shares_of
from rs_zeroseg.use.reading import Reading, at_pixel
from rs_zeroseg.use.source import Asked, grid_origin, open_source


class Enough(Exception):
    "What a test wanted to see has happened."


class Says(Segmenter):
    "A model whose answer about a word is the word itself, a logit as text, at every pixel."
    def __init__(self, threshold=.5):
        super().__init__(None, threshold)
        self.one = nn.Parameter(torch.ones(1))

    def encode_words(self, words):
        return torch.tensor([[float(word)] for word in words])

    def encode_image(self, image):
        return Features(image[:, :1], None, *[tuple(image.shape[-2:])]*2)

    def score(self, features, text_emb):
        return text_emb.view(1, -1, 1, 1) + 0*features.vlm, None


# ---- the training loop

PLAN = TrainConfig(steps=1, warmup=0, lr=.1, clip_norm=1e9, precision="no")


def noise(start):
    "Parts of two rows; part n is the same whenever it is asked for."
    for n in count(start):
        yield torch.randn(2, 4, generator=torch.Generator().manual_seed(n))


def square_loss(model, x):
    return model(x).square().mean(), {}


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 4)


def gradient(out):
    "The gradient of a run of one step: Adam's first moment is a tenth of it, beta being .9."
    state = load_file(next(out.glob("step-*"))/"optimizer.safetensors")
    return torch.cat([v.flatten() for k, v in sorted(state.items()) if k.endswith("exp_avg")])/.1


def test_a_gradient_is_clipped_to_its_norm(tmp_path):
    "Adam's step does not depend on the length of the gradient, so the weights do not tell."
    fit(linear(), square_loss, noise, replace(PLAN, clip_norm=.01), tmp_path, progress=False)

    assert gradient(tmp_path).norm().item() == pytest.approx(.01, rel=1e-3)


def test_the_parts_of_a_step_share_its_loss(tmp_path):
    whole = [torch.cat([next(noise(0)), next(noise(1))])]

    fit(linear(), square_loss, lambda start: iter(whole), PLAN, tmp_path/"whole", progress=False)
    rows = fit(linear(), square_loss, noise, replace(PLAN, accumulate=2), tmp_path/"parts", progress=False)

    torch.testing.assert_close(gradient(tmp_path/"parts"), gradient(tmp_path/"whole"))
    assert rows[-1]["loss"] == pytest.approx(square_loss(linear(), whole[0])[0].item(), abs=1e-6)


def dropping():
    torch.manual_seed(0)
    return nn.Sequential(nn.Dropout(.5), nn.Linear(4, 4))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_goes_on_with_the_same_random_numbers_moments_and_parts(tmp_path, accumulate):
    "A model with dropout, stopped after two of four steps; the second process begins with other random numbers."
    plan = replace(PLAN, steps=4, save_every=2, accumulate=accumulate)
    whole, first, second = dropping(), dropping(), dropping()

    def stop(done):
        if done == 2:
            raise Enough

    torch.manual_seed(1)
    fit(whole, square_loss, noise, plan, progress=False)
    torch.manual_seed(1)
    with pytest.raises(Enough):
        fit(first, square_loss, noise, plan, tmp_path, after_step=stop, progress=False)
    torch.manual_seed(99)
    fit(second, square_loss, noise, plan, tmp_path, progress=False)

    assert all(torch.equal(second.state_dict()[k], v) for k, v in whole.state_dict().items())


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    plan = replace(PLAN, steps=100, warmup=10)

    found = [learning_rate(step, plan) for step in (0, 4, 9, 10, 55, 100)]

    assert found == pytest.approx([.1, .5, 1, 1, .5, 0])


def test_streams_learn_at_their_own_rate_and_biases_do_not_decay():
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("vlm", "rsi", "head")})
    plan = replace(PLAN, lr=1., backbone_multiplier=.1, rsi_multiplier=.2, weight_decay=.3)

    groups = parameter_groups(model, plan)

    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, rate in (("vlm", .1), ("rsi", .2), ("head", 1.)):
        assert found[id(model[name].weight)] == (rate, .3) and found[id(model[name].bias)] == (rate, 0)


def test_a_stream_that_joins_later_is_still_until_then(tmp_path):
    model = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("rsi", "head")})
    before, moved = model["rsi"].weight.detach().clone(), []

    def loss(model, x):
        return model["head"](model["rsi"](x)).square().mean(), {}

    def look(done):
        moved.append(not torch.equal(model["rsi"].weight, before))

    fit(model, loss, noise, replace(PLAN, steps=4, rsi_multiplier=1., rsi_from=2), after_step=look, progress=False)

    assert moved == [False, False, True, True]


def test_running_means_take_a_twentieth_of_what_is_new():
    metrics = Metrics(None, {"step": 25, "seconds": 3., "loss": 1.})

    metrics.add({"loss": 2.})
    metrics.row(26)

    assert metrics.rows[0]["loss"] == pytest.approx(1.05) and metrics.rows[0]["seconds"] >= 3


# ---- seeds

def same(images, others):
    return all(torch.equal(a, b) for a, b in zip(images, others))


def first_scene(monkeypatch, stage, tmp_path, seed):
    "The images that a stage of the training draws for a seed, without the training."
    found = []

    def look(data, *args, **kwargs):
        found.extend(data[0].images)
        raise Enough

    if stage == "experiment":
        return experiments._crops.__wrapped__(1, seed, "landdiscover")[0].images
    with monkeypatch.context() as m, pytest.raises(Enough):
        if stage == "train":
            m.setattr(segmentation, "train_masks", look)
            segmentation.train_pocket(tmp_path, None, seed=seed, scenes=1, progress=False)
        else:
            m.setattr(pretrain, "batches_of", look)
            pretrain.pretrain(tmp_path, seed=seed, scenes=1, progress=False)
    return found


@pytest.mark.parametrize("stage", ["pretrain", "train", "experiment"])
def test_the_seed_chooses_the_scenes(monkeypatch, tmp_path, stage):
    zero, three = (first_scene(monkeypatch, stage, tmp_path, seed) for seed in (0, 3))

    assert same(zero, pocket_scenes(1, 0)[0]) and same(three, pocket_scenes(1, 30_000_000)[0])
    assert not same(zero, three)


@pytest.fixture(scope="module")
def crops():
    return [pocket_crops(2)]


def begun(monkeypatch, crops, seed=0, lam=.2):
    "What `train_masks` hands to `fit`: the model, its loss, and the batches."
    found = []

    def note(model, loss_fn, batches, *args, **kwargs):
        found.append((model, loss_fn, batches))
        return []

    with monkeypatch.context() as m:
        m.setattr(segmentation, "fit", note)
        segmentation.train_masks(crops, None, None, seed, lam=lam, progress=False)
    return found[0]


def test_the_seed_chooses_the_new_weights_and_the_crops(monkeypatch, crops):
    (zero, _, crops0), (again, _, crops1), (other, _, crops2) = (begun(monkeypatch, crops, s) for s in (0, 0, 1))

    heads = [model.head.query.weight for model in (zero, again, other)]
    images = [next(batches(0))[0][0][1] for batches in (crops0, crops1, crops2)]
    for first, second, third in (heads, images):
        assert torch.equal(first, second) and not torch.equal(first, third)


def test_lambda_weighs_the_alignment(monkeypatch, crops):
    "The loss of one batch is a line in lambda, and not a level one."
    losses = []
    for lam in (0., .1, .4):
        model, loss_fn, batches = begun(monkeypatch, crops, lam=lam)
        with torch.no_grad():
            losses.append(loss_fn(model, next(batches(0)))[0].item())

    nothing, tenth, more = losses
    assert tenth - nothing > .01
    assert more - nothing == pytest.approx(4*(tenth - nothing), rel=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_domain("landdiscover", tmp_path_factory.mktemp("notices")/"set", 4, 96, 50)


def finetuned(monkeypatch, folder, out, **options):
    "What `finetune` hands to `fit`."
    found = []

    def note(model, loss_fn, batches, *args, **kwargs):
        found.append((model, loss_fn, batches))
        return []

    with monkeypatch.context() as m:
        m.setattr(finetune, "fit", note)
        plan = TrainConfig(steps=4, batch_size=2, precision="no", seed=options.pop("seed", 0))
        finetune.finetune(folder, out, PRESETS["pocket"], plan, crop_px=64, workers=0, progress=False, **options)
    return found[0]


def test_finetune_hands_lambda_and_seed_on(monkeypatch, folder, tmp_path):
    losses, images, heads = [], [], []
    for n, options in enumerate((dict(lam=0.), dict(lam=.1), dict(lam=.4), dict(seed=1))):
        model, loss_fn, batches = finetuned(monkeypatch, folder, tmp_path/str(n), **options)
        batch = next(iter(batches(0)))
        with torch.no_grad():
            losses.append(loss_fn(model, batch, loss_fn.counts(batch))[0].item())
        images.append(batch[0])
        heads.append(model.head.query.weight)

    assert losses[2] - losses[0] == pytest.approx(4*(losses[1] - losses[0]), rel=1e-3) and losses[1] - losses[0] > .01
    for drawn in (images, heads):
        assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[3])


def test_processes_and_parts_share_the_images_without_overlap(folder):
    "Six images in three parts: two processes with one part each time see what one process sees."
    data = FolderDataset(folder/"images", folder/"masks", folder/"labels.json", crop=32)
    plan = TrainConfig(steps=3, batch_size=2, seed=5)

    alone = [image for images, _ in finetune.crop_batches(data, plan, 0)(0) for image in images]
    shared = [finetune.crop_batches(data, plan, 0, rank, 2)(0) for rank in (0, 1)]
    together = [images[0] for pair in zip(*shared) for images, _ in pair]

    assert len(together) == 6 and same(alone, together)


def test_the_plans_seed_orders_the_images(folder):
    "Of one data set, whose own seed places the crops."
    data = FolderDataset(folder/"images", folder/"masks", folder/"labels.json", crop=96)

    orders = [[image.mean().item() for image, _ in finetune.crop_batches(data, TrainConfig(4, 1, seed=seed), 0)(0)]
              for seed in (0, 0, 1)]

    assert orders[0] == orders[1] != orders[2]


def test_a_round_of_crops_shows_every_image_once_in_a_new_order(folder):
    data = FolderDataset(folder/"images", folder/"masks", folder/"labels.json", crop=96)
    orders = [finetune._order(len(data), 0, turn).tolist() for turn in range(3)]

    assert all(sorted(order) == [0, 1, 2, 3] for order in orders) and len(set(map(tuple, orders))) > 1
    crops = finetune.ShuffledCrops(data)
    plain = {turn: [crops[4*turn + i][0].mean().item() for i in range(4)] for turn in (0, 1)}
    assert plain[0] != plain[1]


def test_crops_of_one_image_differ_from_turn_to_turn():
    places = {(w.col_off, w.row_off) for w in (crop_window(0, n, (500, 500), 64) for n in range(20))}

    assert len(places) == 20


def test_batches_of_a_resumed_run_begin_where_it_was_left(crops):
    from_zero, from_two = (batches_of(crops, 2, 16)(start) for start in (0, 2))
    third = [next(from_zero) for _ in range(3)][2]

    assert torch.equal(third[0][0][1], next(from_two)[0][0][1])


def test_only_trained_categories_are_chosen_where_that_is_asked():
    "Two categories, left and right; windows of one pixel."
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:, 4:] = 1
    image, trained = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.tensor([True, False])
    data = Crops([image], [mask], torch.zeros(2, 1), trained, size_px=(1, 1))

    windows = data.windows(40, torch.Generator().manual_seed(0), only_trained=True)

    assert all(left < 4 for _, _, left, _ in windows)


def test_novel_and_unlabelled_pixels_are_not_judged():
    "Pixels: the trained category, the novel one, none; one word, which names the first."
    mask, table = torch.tensor([[[0, 1, 255]]]), torch.tensor([[1.], [0.]])

    target, valid = segmentation.pixel_targets(mask, table, torch.tensor([True, False]))

    assert target[0, 0].tolist() == [[1, 0, 0]] and valid[0, 0].tolist() == [[True, False, False]]


def test_a_speck_is_neither_in_the_caption_nor_missing_from_it():
    "One pixel of a hundred is the second category, none the third."
    mask, table = torch.zeros(1, 10, 10, dtype=torch.long), torch.eye(3)
    mask[0, 0, 0] = 1

    holds, counts = pretrain.caption_targets(area_shares(mask, 3), table)

    assert holds.tolist() == [[True, False, False]] and counts.tolist() == [[True, False, True]]


def test_beyond_the_edge_nothing_is_labelled():
    item = fill(dict(image=torch.ones(3, 2, 2), mask=torch.ones(2, 2, dtype=torch.long)), 3)

    assert item["mask"].tolist() == [[1, 1, IGNORE], [1, 1, IGNORE], [IGNORE]*3]
    assert item["image"][0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_the_bands_that_are_asked_for_are_read():
    image = np.arange(4, dtype=np.float32)[:, None, None]*np.ones((4, 2, 2), np.float32)
    labels = LabelSet("x", [dict(value=0, name="a")])

    data = SampleDataset([dict(image=image, mask=np.zeros((2, 2)))], labels, bands=(3, 0, 1), limits=(0., 4.))

    assert data[0]["image"][:, 0, 0].tolist() == [.75, 0, .25]


# ---- experiments

def test_a_setting_reaches_the_training(monkeypatch):
    given = {}
    monkeypatch.setattr(experiments, "_crops", lambda *asked: asked)
    monkeypatch.setattr(experiments, "train_masks", lambda data, **options: given.update(options, data=data))

    experiments.train_setting(
        experiments.Setting(lam=.7, seed=3, steps=5, clip="qv", rsi="full", scenes=2, distance="l2", domain="flair",
                            changes=(("mscam", False),)))

    assert (given["lam"], given["seed"], given["plan"].steps) == (.7, 3, 5)
    assert (given["clip"], given["rsi"], given["config"].mscam) == ("qv", "full", False)
    assert given["data"] == (2, 3, "flair") and given["distance"] == "l2"


def test_every_domain_is_measured_on_its_own(monkeypatch):
    asked = []

    def measured(model, domain, n, progress):
        asked.append(domain)
        return len(asked)

    monkeypatch.setattr(experiments, "tally_pocket", measured)

    tallies = experiments.stand_in_tallies(None, 1)

    assert asked == ["flair", "fast", "potsdam", "floodnet"]
    assert [tallies[column] for column in ("FLAIR", "FAST", "Potsdam", "FloodNet")] == [1, 2, 3, 4]


def test_a_block_sees_its_halo_on_either_side():
    blocks = spans(1500, 512, 64)

    assert len(blocks) == 3 and (blocks[0][0], blocks[-1][1]) == (0, 1500)
    for first, end, seen, seen_end in blocks:
        assert (seen, seen_end) == (first and first - 64, min(end + 64, 1500))


def test_the_race_counts_backbones_and_heads():
    "On shapes alone, for one word and for three."
    model = skeleton(PRESETS["pocket"])
    streams = macs(lambda: model.streams(torch.zeros(1, 3, 64, 64, device="meta")))

    one, three = accounts("rs-zeroseg", "pocket", (1, 3), 64)

    assert one["macs"] > streams > 0 and three["macs"] > one["macs"]
    assert streams + 3*(one["macs"] - streams) > three["macs"]


def test_missing_runs_are_asked_seed_by_seed():
    one, two = experiments.Setting(), experiments.Setting(lam=0.)
    wanted = list(missing([one, two], 2, [one]))

    assert wanted == [two, replace(one, seed=1), replace(two, seed=1)]


def test_an_interval_is_students():
    "Of 1, 2, 3: t for two degrees of freedom is 4.303, the standard error 1/sqrt(3)."
    mean, half, n = interval([1., 2., 3.])

    assert (mean, n) == (2, 3) and half == pytest.approx(4.3027/3**.5, rel=1e-4)


def test_a_class_left_out_is_no_label_and_unlabelled_pixels_count_for_nothing():
    data = Crops([], [], torch.zeros(3, 1), torch.ones(3, dtype=torch.bool))
    logits, mask = torch.randn(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    half = mask.clone()
    half[:, 2:] = IGNORE

    withhold(data, ["road", "water", "tree"], ("water",))
    losses = [closed_loss(lambda image: logits, ([(None, None, m)], None))[0].item() for m in (mask, half)]

    assert data.trained.tolist() == [True, False, True]
    one, two = (nn.functional.cross_entropy(x, m) for x, m in ((logits, mask), (logits[:, :, :2], mask[:, :2])))
    assert losses == pytest.approx([one.item(), two.item()])


# ---- what a model says

def test_a_calibrated_threshold_and_all_bits_of_the_weights_are_kept(tmp_path):
    model = build(PRESETS["pocket"])
    model.threshold = .375

    again = load(save(model, tmp_path/"model"))

    assert again.threshold == .375
    assert all(torch.equal(again.state_dict()[name], v) for name, v in model.state_dict().items())


@pytest.mark.parametrize("logit", ["-200", "0"])
def test_at_threshold_0_every_pixel_gets_a_word(logit):
    "The sigmoid of -200 is 0 in 32 bit."
    image = torch.zeros(1, 3, 4, 4)
    model = Says()

    answer = model.query(model.encode_image(image), [logit])

    assert (answer.labels(0) == 0).all()
    assert (Reading(model, image[0]).labels([logit], 0) == 0).all()


def test_a_probability_at_the_threshold_passes():
    model, image = Says(), torch.zeros(1, 3, 4, 4)

    answer = model.query(model.encode_image(image), ["0"])

    assert (answer.labels(.5) == 0).all() and (Reading(model, image[0]).labels(["0"], .5) == 0).all()


@pytest.mark.parametrize("threshold, false", [(.6, 100), (.7310585975646973, 100), (.9, 0)])
def test_absent_words_are_measured_at_the_models_own_threshold(monkeypatch, threshold, false):
    "Every pixel is taken for an absent word, with probability 0.73."
    model = Says(threshold)
    monkeypatch.setattr(model, "encode_words", lambda words: torch.tensor([[float(w in ABSENT)] for w in words]))

    result = evaluate_pocket(model, "flair", 1, size=64, progress=False)

    assert (result["absent"], result["absent_at_threshold"]) == (100, false)


def test_tiers_of_a_folder_are_those_of_its_labels(tmp_path, tif):
    "All that is said is the first category, which is base: its IoU is its share, and the novel one has 0."
    mask = np.ones((1, 8, 8), np.uint8)
    mask[:, 6:] = 2
    for kind, array in (("images", np.zeros((3, 8, 8), np.uint8)), ("masks", mask)):
        (tmp_path/kind).mkdir()
        tif(tmp_path/kind/"a.tif", array)
    categories = [dict(value=1, name="1"), dict(value=2, name="0", novel=True)]
    (tmp_path/"labels.json").write_text(json.dumps(dict(name="two", categories=categories)), encoding="utf-8")

    data = FolderDataset(tmp_path/"images", tmp_path/"masks", tmp_path/"labels.json")
    report = evaluate(Says(), data, progress=False)

    assert (report.mean("base"), report.mean("novel")) == (75, 0)


def test_tiers_of_words():
    assert [tier(w) for w in ("Road", "tennis court", "vegetation", "lagoon", "truck")] == \
        ["base", "novel", "base", "unseen", "unseen"]


# ---- pixels and their values

def test_an_ignored_category_takes_no_number():
    labels = LabelSet("x", [dict(value=5, name="a"), dict(value=6, name="b", ignore=True), dict(value=7, name="c")])

    assert labels.encode(np.array([[5, 6, 7]])).tolist() == [[0, IGNORE, 1]] and labels.words == ["a", "c"]


def test_colours_of_a_mask_are_read_red_first():
    labels = LabelSet("x", [dict(value="#FF0000", name="a"), dict(value="#0000FF", name="b")])

    assert labels.encode(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).tolist() == [[0, 1]]


def test_16_bit_is_stretched_between_the_2nd_and_the_98th_percentile(tmp_path, tif):
    values = np.random.default_rng(0).permutation(10_000).reshape(100, 100).astype(np.uint16)
    path = tif(tmp_path/"a.tif", np.stack([values, 2*values, 3*values]))

    with rasterio.open(path) as src, pytest.warns(UserWarning, match="2nd to their 98th"):
        limits = look_at(src).limits

    np.testing.assert_allclose(limits, np.outer([1, 2, 3], [200, 9799]), rtol=.001)
    array = np.array([[[100, 200, 9799, 9999]]]*3, np.uint16)
    np.testing.assert_allclose(scale_to_unit(array, limits[[0, 0, 0]])[0], [[0, 0, 1, 1]], atol=1e-3)


def test_a_pixel_without_data_has_none_in_any_band(tmp_path, tif):
    "Columns: no value in red only, in green only, in blue only, in all three, in none."
    image = np.full((3, 1, 5), 9, np.uint8)
    image[[0, 1, 2], 0, [0, 1, 2]] = 0
    image[:, 0, 3] = 0
    path = tif(tmp_path/"a.tif", image, nodata=0)

    with open_source([str(path)]) as given:
        _, valid = given.seen.read(Window(0, 0, 5, 1))

    assert valid.tolist() == [[True, True, True, False, True]]


@pytest.mark.parametrize("off, pixel", [(-1e-6, 0), (0., 0), (1e-6, 0), (.5 - 1e-6, 0), (.5 + 1e-6, 0), (.8, 1)])
def test_the_grid_survives_rounding(tmp_path, tif, off, pixel):
    "Corners lie at whole or at half pixels, give or take what a float loses."
    place = rasterio.Affine(.5, 0, 450_000 + .5*(40 + off), 0, -.5, 5_400_000 - .5*(70 + off))
    path = tif(tmp_path/"a.tif", np.zeros((3, 4, 4), np.uint8), crs="EPSG:32631", transform=place)

    with rasterio.open(path) as src:
        found = grid_origin(src)

    assert found == (-10_800_000 + 70 + pixel, 900_000 + 40 + pixel)


def test_the_colours_of_a_map_stand_at_its_values(tmp_path):
    words, out = ["road", "water", "zebra"], tmp_path/"map.tif"
    profile = dict(driver="GTiff", width=8, height=8, count=1, dtype="uint8", nodata=255)
    place = dict(crs="EPSG:32631", transform=rasterio.Affine(1, 0, 0, 0, -1, 0))

    with rasterio.open(out, "w", **profile, **place) as dst:
        dress_map(dst, words, .5)

    wanted = ["#d9d9d9", *colours_for(words)]
    with rasterio.open(out) as src:
        found, tags = src.colormap(1), src.tags(1)
    assert ["#{:02x}{:02x}{:02x}".format(*found[i][:3]) for i in range(4)] == wanted
    assert found[255][:3] == (255, 255, 255) and [tags[f"word_{i}"] for i in (1, 2, 3)] == words


def test_none_is_grey_and_ignored_is_white():
    colours = map_colours(np.array([[0, 1, -1, 255]]), ["road", "water"])[0]

    wanted = [*colours_for(["road", "water"]), NONE_COLOUR, IGNORE_COLOUR]
    np.testing.assert_allclose(colours, [hex_to_rgb(c) for c in wanted])


def test_a_raster_that_was_changed_is_another_request(tmp_path, tif):
    "Of the same name and the same size."
    path = tif(tmp_path/"a.tif", np.zeros((3, 4, 4), np.uint8))
    os.utime(path, ns=(0, 10**18))

    def asked(words=("road",), **settings):
        with open_source([str(path)]) as given:
            return request_of(given, list(words), **settings)

    before = asked(threshold=.5)
    os.utime(path, ns=(0, 10**18 + 10**9))
    after = asked(threshold=.5)

    assert before != after and asked(threshold=.5) == after
    assert asked(threshold=.4) != after and asked(["tree"], threshold=.5) != after


def test_another_nodata_or_another_area_is_another_request(tmp_path, tif):
    "The areas have the same name and the same bounding box."
    place = dict(crs="EPSG:32631", transform=rasterio.Affine(1, 0, 0, 0, -1, 16))
    black = np.pad(np.full((3, 8, 8), 90, np.uint8), ((0, 0), (4, 4), (4, 4)))        # a frame that is found, too
    path, area = tif(tmp_path/"a.tif", black, **place), tmp_path/"a.json"

    def asked(ring=(), **look):
        corners = [(0, 0), (16, 0), (16, 16), *ring, (0, 16), (0, 0)]
        shape = dict(type="Polygon", coordinates=[corners], crs=dict(properties=dict(name="EPSG:32631")))
        area.write_text(json.dumps(shape))
        with open_source([str(path)], Asked(Look(**look), aoi=str(area))) as given:
            return request_of(given, ["road"])

    before = asked(nodata=0.)
    assert asked(nodata=0.) == before
    assert before not in (asked(), asked(nodata=255.), asked([(8, 8)], nodata=0.))


def test_shares_are_of_what_has_data():
    counts = np.zeros(256, np.int64)
    counts[[0, 1, 2, 255]] = 10, 20, 10, 60

    told = shares_of(counts, ["road", "tree"])

    assert told == dict(nodata=.6, share=dict(none=.25, road=.5, tree=.25))


def test_a_pixel_is_asked_by_row_and_column():
    model = Says()
    model.score = lambda features, text_emb: (features.vlm.expand(1, len(text_emb), -1, -1), None)
    image = torch.zeros(3, 4, 6)
    image[:, 1, 5] = 1

    rows = [at_pixel(Reading(model, image), ["1"], *place) for place in ((1, 5), (1, 4))]

    assert [r.S_k[0] for r in rows] == pytest.approx([1/(1 + np.exp(-1)), .5])


def test_the_middle_of_a_window_is_where_it_was_put():
    window = window_of(Place(.5, .5, 100), 300, 400)

    assert (window.row_off, window.col_off, window.height, window.width) == (100, 150, 100, 100)


# ---- files

def test_a_failed_write_leaves_nothing_beside_the_old_file(tmp_path):
    path = tmp_path/"a.txt"
    path.write_text("old")

    with pytest.raises(Enough), whole_files(path) as (part,):
        part.write_text("new")
        raise Enough

    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_second_run_is_refused_and_a_third_is_not(tmp_path):
    path = tmp_path/"a"

    with one_run(path), pytest.raises(ValueError, match="another run is at work on it"), one_run(path):
        pass

    with one_run(path):
        pass


def test_what_arrived_is_compared_with_its_hash(tmp_path):
    part = tmp_path/"part"
    part.write_bytes(b"other")

    with pytest.raises(RuntimeError, match="not the expected file .SHA-256 differs"):
        files._check("an address", part, tmp_path/"a", {"sha256": "0"*64})

    assert not part.exists()


# ---- memory

def test_a_step_needs_what_its_tensors_take():
    "Weights, gradients and Adam's two moments in 32 bit, counted on the model itself."
    config = PRESETS["pocket"]
    model, align = finetune.start_model(config)
    parameters = [*model.parameters(), *align.parameters()]
    learns = sum(p.numel() for p in parameters if p.requires_grad)

    one, two = (costs.step_memory(config, images, crop_px=64, precision="no", processes=images) for images in (1, 2))

    assert one["weights"] == 4*sum(p.numel() for p in parameters)
    assert (one["gradients"], one["moments"], one["buckets"]) == (4*learns, 8*learns, 0)
    assert two["buckets"] == 4*learns and 1.8 < two["activations"]/one["activations"] < 2.05
    assert one["total"] == sum(v for k, v in one.items() if k != "total")


def test_kept_activations_are_counted_once_in_bytes():
    "The sine keeps its input of 1000 numbers in 32 bit, the product its two factors, one of which is that input."
    x = torch.zeros(1000, requires_grad=True)

    def forward():
        y = x*1
        return y.sin()*y

    assert costs._bytes_kept(nn.Linear(1, 1), nn.Linear(1, 1), forward) == 8000


def test_peak_memory_is_in_megabytes():
    "A block that is larger than any before makes this moment the peak."
    mb = psutil.Process().memory_info().rss/1e6
    block = np.ones(int(max(0., peak_memory_mb() - mb) + 200)*125_000)

    now = psutil.Process().memory_info().rss/1e6

    assert block.nbytes > 1e8 and peak_memory_mb() == pytest.approx(now, rel=.05)


# ---- what a run costs

def test_multiply_adds_are_counted_once():
    "A product of 2x3 and 3x4 has 24 of them."
    assert macs(lambda: torch.zeros(2, 3) @ torch.zeros(3, 4)) == 24


def test_frozen_parameters_are_not_trainable():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)

    assert count_parameters(model) == {"total": 9, "trainable": 3, "parts": {"0": 6, "1": 3}}


@pytest.mark.parametrize("free, fits", [((9e9, 5e9), False), ((5e9, 9e9), False), ((9e9, 7e9), True)])
def test_the_fullest_card_decides(monkeypatch, free, fits):
    monkeypatch.setattr(machine, "_need", lambda *args: 6e9)
    cards = [machine.GPU("a card", int(1e10), int(size)) for size in free]

    assert machine.check_memory("paper", TrainConfig(), cards).ok == fits


def test_a_run_writes_two_checkpoints_and_a_model(monkeypatch):
    "A checkpoint is written before the one before it is removed."
    monkeypatch.setattr(machine, "step_memory", lambda *args, **options: {"weights": 10, "moments": 4})

    assert machine.run_size(PRESETS["pocket"]) == 2*14 + 10


@pytest.mark.parametrize("pairs, published, ok", [(9, 10, False), (10, 10, True), (99, None, False), (100, None, True)])
def test_a_part_of_a_set_does_not_pass_for_the_set(tmp_path, pairs, published, ok):
    about = {"data": "FLAIR", "split": "test", "pairs": pairs, "published": published, "files": {}}
    (tmp_path/"flair"/"test").mkdir(parents=True)
    (tmp_path/"flair"/"test"/"manifest.json").write_text(json.dumps(about), encoding="utf-8")

    assert doctor.check_data("FLAIR", tmp_path).ok == ok

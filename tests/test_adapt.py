"SampleDataset over torchgeo's own readers; skipped where torchgeo (an extra) is absent. Nothing is downloaded."
import zipfile

import numpy as np
import pytest
import torch
from data_sets import script

from rs_zeroseg.data.adapt import SampleDataset
from rs_zeroseg.data.imagery import FolderDataset
from rs_zeroseg.data.labels import IGNORE, LabelSet, read_labels
from rs_zeroseg.data.pocket import write_domain
from rs_zeroseg.data.prepare import prepare
from rs_zeroseg.data.recipes import make_miniature
from rs_zeroseg.evidence.evaluate import evaluate
from rs_zeroseg.model.losses import bce_loss
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.training.loop import TrainConfig, fit

torchgeo = pytest.importorskip("torchgeo.datasets")


@pytest.fixture(scope="module")
def loveda(tmp_path_factory):
    "A miniature of LoveDA: as our script prepares it, and as torchgeo reads it."
    module = script("loveda")
    folder = tmp_path_factory.mktemp("loveda")
    archives, _ = make_miniature(module.RECIPE, folder / "raw")
    for archive in archives:
        with zipfile.ZipFile(archive) as z:
            z.extractall(folder / "unpacked")
    prepare(module.RECIPE, archives, folder / "out", "val")
    ours = FolderDataset(folder / "out" / "images", folder / "out" / "masks", folder / "out" / "labels.json")
    ignored = [{"value": v, "name": n, "ignore": True} for v, n in ((0, "no data"), (1, "background"))]
    kept = [{"value": i, "name": n} for i, n in enumerate(ours.words, 2)]
    theirs = SampleDataset(torchgeo.LoveDA(folder / "unpacked", "val"), LabelSet("LoveDA", ignored + kept))
    return ours, theirs


def test_torchgeo_reads_our_miniature_as_we_do(loveda):
    ours, theirs = loveda
    assert len(ours) == len(theirs) == 2 and ours.words == theirs.words
    for a, b in zip(ours, theirs):
        assert torch.equal(a["mask"], b["mask"]) and torch.allclose(a["image"], b["image"], atol=1e-6)


def test_it_is_evaluated_and_trained_on(loveda):
    ours, theirs = loveda
    model = build(PRESETS["pocket"])
    assert evaluate(model, theirs, progress=False).as_dict() == evaluate(model, ours, progress=False).as_dict()
    text_emb = model.encode_words(theirs.words)
    loader = torch.utils.data.DataLoader(SampleDataset(theirs.samples, theirs.labels, crop=32), batch_size=2)

    def loss_fn(model, batch):
        logits = torch.nn.functional.interpolate(model(batch["image"], text_emb)[0], (32, 32))
        target = batch["mask"][:, None] == torch.arange(len(text_emb))[:, None, None]
        return bce_loss(logits, target, target.any(1, keepdim=True)), {}

    def batches(start):
        while True:
            yield from loader

    before = {name: value.clone() for name, value in model.state_dict().items()}

    rows = fit(model, loss_fn, batches, TrainConfig(steps=25, warmup=1, precision="no"), progress=False)

    assert np.isfinite(rows[-1]["loss"])
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


def asked_with_places(folder, padding):
    "A scene that torchgeo's sampler asks by place; its padding has code 0, listed or not."
    from torchgeo.samplers import GridGeoSampler
    write_domain("landdiscover", folder, 1, 128, 70)
    images, answers = (torchgeo.RasterDataset(str(folder / kind)) for kind in ("images", "masks"))
    answers.is_image = False
    both = images & answers
    labels = read_labels(folder / "labels.json")
    more = [{"value": 0, "name": "padding", "ignore": True}] if padding else []
    labels = LabelSet("places", labels.categories + more)
    places = list(GridGeoSampler(both, 64))              # that of torchgeo 0.8.1 also gives places beside the image
    return SampleDataset(both, labels, keys=places)


def is_cut(item, whole, at):
    "Is an item this part of the whole?"
    image, mask = whole["image"][(slice(None), *at)], whole["mask"][at]
    return torch.allclose(item["image"], image, atol=1e-6) and torch.equal(item["mask"], mask)


def test_a_set_that_is_asked_with_places(tmp_path):
    data = asked_with_places(tmp_path, True)
    whole = FolderDataset(tmp_path / "images", tmp_path / "masks", tmp_path / "labels.json")[0]
    corners = [np.s_[r:r + 64, c:c + 64] for r in (0, 64) for c in (0, 64)]
    inside = [item for item in data if (item["mask"] != IGNORE).any()]
    assert len(inside) == 4
    for item in inside:
        assert sum(is_cut(item, whole, at) for at in corners) == 1


def test_padding_with_zero_is_not_taken_for_a_category(tmp_path):
    with pytest.raises(ValueError, match="mask value 0 is not in the labels"):
        list(asked_with_places(tmp_path, False))

"SED from its configuration to its labels: built, trained, saved, asked."
from dataclasses import replace

import pytest
import torch

from rs_zeroseg.baselines.sed import SED, SEDConfig
from rs_zeroseg.budget import count_parameters, skeleton
from rs_zeroseg.checkpoint import build, image_streams, load, presets, save
from rs_zeroseg.model import ZeroShotConfig
from rs_zeroseg.pretrain import SEGMENTATION_PLAN, load_encoders, pocket_crops, train_masks

WORDS = ["road", "water", "tennis court", "building", "car"]


@pytest.fixture(scope="module")
def pocket():
    torch.manual_seed(0)
    return load_encoders(None, build(SED.presets["pocket"]))


@pytest.mark.parametrize("preset", ["pocket", "base", "paper"])
@pytest.mark.parametrize("whole", [True, False])
def test_every_preset_can_be_counted(preset, whole):
    model = skeleton(replace(presets("sed")[preset], whole=whole))
    count = count_parameters(model)
    assert count["trainable"] == count["total"], "the whole image tower learns"
    px = model.vlm.input_px or 128
    with torch.device("meta"), torch.no_grad():
        logits, attention = model.score(model.encode_image(torch.zeros(2, 3, 100, 128)), torch.zeros(7, model.vlm.dim))
    stages = len(model.config.dims) - 1 if whole else 0
    rows = px if model.vlm.input_px else 104                                  # rounded up to whole cells
    assert attention is None and logits.shape == (2, 7, rows//model.vlm.patch_px*2**stages, px//model.vlm.patch_px*2**stages)


def test_convolutional_encoder_reads_alone():
    model = load("pocket-conv-zero-shot")
    assert model.config == ZeroShotConfig(vlm="pocket-conv", threshold=model.config.threshold)
    vlm, rsi, clip = image_streams(model.config)
    assert rsi is None and clip is None and sorted(vlm.state_dict()) == sorted(model.vlm.state_dict())


@pytest.mark.parametrize("change", [{}, SED.without, {"reject": None}], ids=["whole", "plain", "unrejected"])
def test_a_checkpoint_comes_back(change, tmp_path):
    torch.manual_seed(0)
    model = build(replace(SED.presets["pocket"], **change))
    again = load(save(model, tmp_path / "sed"))
    assert isinstance(again, SED) and again.config == model.config
    image = torch.rand(1, 3, 64, 48)
    with torch.no_grad():
        before, after = (m.query(m.encode_image(image), WORDS).logits for m in (model, again))
    assert torch.equal(before, after)


def test_training_moves_head_and_tower_and_no_text():
    data = pocket_crops(6)
    config = SED.presets["pocket"]
    torch.manual_seed(3)
    before = load_encoders(None, build(config)).text.encode(WORDS)
    torch.manual_seed(3)
    start = {k: v.clone() for k, v in load_encoders(None, build(config)).state_dict().items()}
    model, rows = train_masks([data], None, None, 3, config, replace(SEGMENTATION_PLAN, steps=3, batch_size=2), clip=SED.policy[0], progress=False)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, start[k])}
    still = set(start) - moved
    assert not still, f"these never learn: {sorted(still)}"
    assert torch.equal(before, model.text.encode(WORDS)) and not model.training and rows


def test_labels_are_the_best_logit(pocket):
    with torch.no_grad():
        answer = pocket.query(pocket.encode_image(torch.rand(2, 3, 72, 56)), WORDS)
        assert torch.equal(answer.labels(0), answer.logits.argmax(1))


@pytest.mark.parametrize("H, W", [(1, 1), (65, 33), (64, 64)])
@pytest.mark.parametrize("K", [1, 5])
def test_any_size_and_any_number_of_words(pocket, H, W, K):
    with torch.no_grad():
        answer = pocket.query(pocket.encode_image(torch.rand(1, 3, H, W)), WORDS[:K])
        assert answer.logits.shape == (1, K, H, W) and answer.attention is None
        assert answer.labels(0).shape == (1, H, W) and answer.logits.isfinite().all()


def test_rejection_only_in_use(pocket):
    image, E = torch.rand(2, 3, 64, 64), pocket.encode_words(WORDS)
    with torch.no_grad():
        features = pocket.encode_image(image)
        full, _, kept = pocket.decode(features, E)
        assert len(kept) == len(WORDS)
        assert torch.equal(pocket.train().score(features, E)[0], full)
        short, _, kept = pocket.eval().decode(features, E, reject=1)
        assert torch.equal(pocket.score(features, E)[0], short) and 1 <= len(kept) <= len(WORDS)
        gone = [k for k in range(len(WORDS)) if k not in kept]
        assert (short[:, gone] == pocket.low).all() and (short[:, kept] > pocket.low).all()


def test_wrong_widths_are_refused():
    with pytest.raises(ValueError, match="2 stages need 2 guides"):
        build(SEDConfig(dims=(8, 8, 8)))

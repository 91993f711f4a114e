"EBSeg and SCAN as segmenters: built from any preset, saved, trained, asked."
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rs_zeroseg.baselines.ebseg import EBSeg
from rs_zeroseg.baselines.scan import SCAN
from rs_zeroseg.checkpoint import build, load, presets, save
from rs_zeroseg.encoders import CLIPDense, PocketViT, TimmDense
from rs_zeroseg.pretrain import SEGMENTATION_PLAN, load_encoders, sources, train_masks
from rs_zeroseg.text import make_clip

MODELS = (EBSeg, SCAN)
both = pytest.mark.parametrize("kind", MODELS, ids=lambda k: k.__name__)


@pytest.fixture(scope="module")
def models():
    "Both models with the encoders of the package, new modules from a seed."
    torch.manual_seed(0)
    return {kind: load_encoders(None, build(kind.presets["pocket"])).eval() for kind in MODELS}


@pytest.fixture(scope="module")
def crops(): return sources(8, 0)


def skeleton(kind, config):
    with torch.device("meta"):
        vlm, rsi = (PocketViT(out_dim=256), PocketViT()) if config.vlm == "pocket" else (CLIPDense(make_clip(config.vlm), config.vlm_px), TimmDense(config.rsi, None, config.rsi_px))
        return kind(vlm, rsi, None, config).eval()


@both
def test_registry_knows_it(kind):
    assert presets(kind.config_type.kind) is kind.presets and set(kind.presets) == {"pocket", "base", "paper"}
    assert kind.policy == ("freeze", "freeze")


@both
@pytest.mark.parametrize("preset", ("pocket", "base", "paper"))
@pytest.mark.parametrize("whole", (True, False))
def test_presets_have_the_right_shapes(kind, preset, whole):
    model = skeleton(kind, replace(kind.presets[preset], whole=whole)); patch = model.config.patch_px
    features = model.encode_image(torch.zeros(2, 3, 8*patch, 4*patch, device="meta"))
    logits, attention = model.score(features, torch.zeros(3, model.vlm.dim, device="meta"))
    assert logits.shape == (2, 3, 2*patch, patch) and attention is None


@both
@pytest.mark.parametrize("size", ((1, 1), (65, 33), (128, 40)))
def test_any_size_and_one_word(kind, size, models):
    model = models[kind]
    with torch.no_grad(): answer = model.query(model.encode_image(torch.rand(2, 3, *size)), ["water"])
    assert answer.logits.shape == (2, 1, *size) and answer.logits.isfinite().all() and answer.attention is None
    assert (answer.labels(0) == 0).all()


@both
def test_labels_are_the_argmax_and_portions_change_nothing(kind, models):
    model, words = models[kind], [f"thing {i}" for i in range(37)]
    with torch.no_grad():
        features = model.encode_image(torch.rand(2, 3, 65, 33)); answer = model.query(features, words)
        assert torch.equal(answer.labels(0), answer.logits.argmax(1))
        parts = torch.cat([model.query(features, answer.text_emb[i:i + 5]).logits for i in range(0, 37, 5)], 1)
    torch.testing.assert_close(parts, answer.logits, atol=1e-4, rtol=1e-4)


@both
def test_each_image_of_a_batch_is_read_alone(kind, models):
    model, image = models[kind], torch.rand(3, 3, 64, 96)
    with torch.no_grad():
        E = model.encode_words(["water", "road"])
        together, alone = (model.score(model.encode_image(x), E)[0] for x in (image, image[1:2]))
    torch.testing.assert_close(together[1:2], alone, atol=1e-3, rtol=1e-3)


@both
@pytest.mark.parametrize("whole", (True, False))
def test_training_moves_the_head_and_no_stream(kind, whole, crops, tmp_path):
    config = replace(kind.presets["pocket"], whole=whole); plan = replace(SEGMENTATION_PLAN, steps=3)
    torch.manual_seed(0); before = load_encoders(None, build(config)).state_dict()
    model, rows = train_masks(crops, None, None, 0, config, plan, clip="freeze", rsi="freeze", progress=False)
    after = model.state_dict(); moved = {k for k in after if not torch.equal(before[k], after[k])}
    assert not [k for k in moved if k.startswith(("vlm.", "rsi."))]
    learns = {n for n, p in model.named_parameters() if p.requires_grad and not n.startswith(("vlm.", "rsi."))}
    assert learns <= moved, f"not reached by the loss: {sorted(learns - moved)}"

    model.eval(); again = load(save(model, tmp_path / "model"))
    with torch.no_grad(): one, two = (m.query(m.encode_image(torch.full((1, 3, 48, 64), .3)), ["water", "road", "volcano"]).logits for m in (model, again))
    assert torch.equal(one, two) and again.config == config
    if kind is EBSeg: assert (again.seen_emb.norm(dim=1) > 0).any()


@both
def test_ignored_pixels_add_nothing(kind, models):
    "The method's own losses see no pixel whose weight is 0: novel labels cannot leak."
    model = models[kind]; E = F.normalize(torch.randn(4, 256), dim=-1)
    features = model.encode_image(torch.rand(2, 3, 64, 64)); weight = torch.rand(2, 4, 64, 64).gt(.5)*1.
    one, two = (model.extra_loss(features, E, torch.where(weight > 0, 1., fill), weight) for fill in (0., 1.))
    assert one == two and one.requires_grad
    assert model.extra_loss(features, E, torch.ones(2, 4, 64, 64), weight*0) == 0


def test_trained_words_and_new_ones_are_told_apart(models):
    model = models[EBSeg]; words = model.encode_words(["water", "road", "volcano"])
    assert not model.seen(words).any()
    model.remember(words[:2]); told = model.seen(words).tolist(); model.seen_emb.zero_()
    assert told == [True, True, False]

"Every segmenter of the registry keeps the same promises: the two-step face, presets, checkpoints, training by the one loop."
from dataclasses import replace

import pytest
import torch

from rs_zeroseg.budget import skeleton
from rs_zeroseg.checkpoint import MODELS, build, load, model_class, presets, save
from rs_zeroseg.pretrain import SEGMENTATION_PLAN, load_encoders, pocket_crops, train_masks

WORDS = ["road", "water", "tennis court", "building", "tree"]
KINDS = [k for k in MODELS if k != "zero-shot"]
by_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def models(): return {kind: load_encoders(None, build(presets(kind)["pocket"])) for kind in KINDS}


@pytest.fixture(scope="module")
def crops(): return [pocket_crops(4)]


@by_kind
@pytest.mark.parametrize("preset", ["pocket", "base", "paper"])
def test_presets_can_be_built_and_asked(kind, preset):
    config = presets(kind)[preset]; model = skeleton(config)
    logits, attention, _ = model(torch.zeros(1, 3, 64, 64, device="meta"), torch.zeros(3, model.vlm.dim, device="meta"))
    assert logits.shape[:2] == (1, 3) and config.kind == kind and (attention is None or attention.shape == logits.shape)


@by_kind
def test_labels_are_the_best_word_at_any_size(models, kind):
    model = models[kind]
    with torch.no_grad():
        for B, H, W, K in ((2, 64, 96, 5), (1, 65, 33, 3), (1, 1, 1, 1)):
            answer = model.query(model.encode_image(torch.rand(B, 3, H, W)), WORDS[:K])
            assert answer.logits.shape == (B, K, H, W) and answer.logits.isfinite().all()
            assert torch.equal(answer.labels(0), answer.logits.argmax(1))


@by_kind
def test_words_asked_in_portions_unless_they_see_each_other(models, kind):
    model = models[kind]; text_emb = model.encode_words(WORDS)
    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64)); whole = model.score(features, text_emb)[0]
        parts = torch.cat([model.score(features, part)[0] for part in text_emb.split(2)], 1)
        order = torch.tensor([3, 1, 4, 0, 2]); moved = model.score(features, text_emb[order])[0]
    assert torch.allclose(moved, whole[:, order], atol=1e-3), "the order of the words matters"
    assert torch.allclose(parts, whole, atol=1e-3) == (model.chunk is not None)


@by_kind
def test_a_checkpoint_gives_the_same_answer(models, kind, tmp_path):
    model = models[kind]; again = load(save(model, tmp_path/kind)); image = torch.rand(1, 3, 64, 64)
    assert type(again) is type(model) and again.config == model.config
    with torch.no_grad(): assert torch.equal(*(m.query(m.encode_image(image), WORDS).logits for m in (model, again)))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "training-free"])
def test_training_moves_the_head_and_what_the_method_lets_learn(kind, crops):
    before = load_encoders(None, build(presets(kind)["pocket"])); clip, rsi = model_class(kind).policy
    model, rows = train_masks(crops, None, None, 0, presets(kind)["pocket"], replace(SEGMENTATION_PLAN, steps=2, batch_size=2), clip=clip, rsi=rsi or "freeze", progress=False)
    state = before.state_dict(); assert set(state) == set(model.state_dict()) and len(rows) == 1
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])}
    assert any(not n.startswith(("vlm.", "rsi.")) for n in moved), "the head did not learn"
    assert any(n.startswith("vlm.") for n in moved) == (clip != "freeze") and not any(n.startswith("rsi.") for n in moved)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "rs-zeroseg"])
def test_a_baseline_says_what_takes_its_idea_away(kind):
    config = presets(kind)["pocket"]; without = build(replace(config, **model_class(kind).without))
    with torch.no_grad(): assert without(torch.rand(1, 3, 64, 64), torch.randn(3, 256))[0].isfinite().all()
    assert replace(config, **model_class(kind).without) != config

"Every segmenter of the registry keeps the same promises: interface, presets, checkpoints, training by one loop."
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rs_zeroseg.baselines import cat_seg, sed
from rs_zeroseg.model.budget import skeleton
from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.registry import MODELS, build, model_class, presets
from rs_zeroseg.training.crops import pocket_crops
from rs_zeroseg.training.segmentation import SEGMENTATION_PLAN, load_encoders, train_masks

WORDS = ["road", "water", "tennis court", "building", "tree"]
KINDS = [k for k in MODELS if k != "zero-shot"]
TWO_STEPS = replace(SEGMENTATION_PLAN, steps=2, batch_size=2)
by_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def models():
    return {kind: load_encoders(None, build(presets(kind)["pocket"])) for kind in KINDS}


@pytest.fixture(scope="module")
def crops():
    return [pocket_crops(4)]


@by_kind
@pytest.mark.parametrize("preset", ["pocket", "base", "paper"])
def test_presets_can_be_built_and_asked(kind, preset):
    config = presets(kind)[preset]
    model = skeleton(config)
    image = torch.zeros(1, 3, 64, 64, device="meta")
    text_emb = torch.zeros(3, model.vlm.dim, device="meta")

    logits, attention, _ = model(image, text_emb)

    assert logits.shape[:2] == (1, 3) and config.kind == kind
    assert attention is None or attention.shape == logits.shape


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
    model = models[kind]
    text_emb = model.encode_words(WORDS)
    order = torch.tensor([3, 1, 4, 0, 2])

    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64))
        whole = model.score(features, text_emb)[0]
        parts = torch.cat([model.score(features, part)[0] for part in text_emb.split(2)], 1)
        moved = model.score(features, text_emb[order])[0]

    assert torch.allclose(moved, whole[:, order], atol=1e-3), "the order of the words matters"
    assert torch.allclose(parts, whole, atol=1e-3) == (model.chunk is not None)


@by_kind
def test_a_checkpoint_gives_the_same_answer(models, kind, tmp_path):
    model, image = models[kind], torch.rand(1, 3, 64, 64)

    again = load(save(model, tmp_path/kind))

    assert type(again) is type(model) and again.config == model.config
    with torch.no_grad():
        before, after = (m.query(m.encode_image(image), WORDS).logits for m in (model, again))
    assert torch.equal(before, after)


@by_kind
def test_each_image_of_a_batch_is_read_alone(models, kind):
    model, image = models[kind], torch.rand(3, 3, 64, 96)
    text_emb = model.encode_words(WORDS)
    if kind == "sed":
        text_emb = text_emb[:1]                        # a word stays if any image of the batch wants it

    with torch.no_grad():
        together, alone = (model.score(model.encode_image(x), text_emb)[0] for x in (image, image[1:2]))

    assert torch.allclose(together[1:2], alone, atol=1e-3, rtol=1e-3)


def settings():
    "Each kind that learns, whole and, where it is a baseline, without its idea."
    for kind in MODELS:
        if kind in ("zero-shot", "training-free"):
            continue
        yield pytest.param(kind, {}, id=kind)
        if kind != "rs-zeroseg":
            yield pytest.param(kind, {"without": True}, id=f"{kind}, without")


@pytest.mark.parametrize("kind, how", list(settings()))
def test_training_moves_the_whole_head_and_what_the_method_lets_learn(kind, how, crops):
    config, (clip, rsi) = presets(kind)["pocket"], model_class(kind).policy
    if how:
        config = replace(config, **model_class(kind).without)
    torch.manual_seed(0)
    before = load_encoders(None, build(config)).state_dict()

    model, rows = train_masks(crops, None, None, 0, config, TWO_STEPS, clip=clip, rsi=rsi, progress=False)

    after = model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    learns = {n for n, p in model.named_parameters() if p.requires_grad and not n.startswith(("vlm.", "rsi."))}
    assert set(before) == set(after) and len(rows) == 1
    assert not learns - moved, f"not reached by the loss: {sorted(learns - moved)}"
    assert any(n.startswith("vlm.") for n in moved) == (clip != "freeze")
    assert not any(n.startswith("rsi.") for n in moved)


@pytest.mark.parametrize("kind", ["rs-zeroseg", "cat-seg"])
def test_a_snapshot_of_a_run_is_a_checkpoint(kind, crops, tmp_path):
    config, (clip, rsi) = presets(kind)["pocket"], model_class(kind).policy

    model, _ = train_masks(crops, tmp_path, None, 0, config, TWO_STEPS, clip=clip, rsi=rsi, snapshots=1, progress=False)

    first, _, last = (load(p).state_dict() for p in sorted((tmp_path/"snapshots").iterdir()))
    assert all(torch.equal(v.half().float(), last[k]) for k, v in model.state_dict().items())
    assert not torch.equal(first["vlm.blocks.0.qkv.weight"], last["vlm.blocks.0.qkv.weight"])


@by_kind
def test_ignored_pixels_add_nothing(models, kind):
    "A method's own loss sees no pixel whose weight is 0: novel labels cannot leak."
    model, text_emb = models[kind], torch.randn(4, 384)
    weight = torch.rand(2, 4, 64, 64).gt(.5)*1.
    torch.manual_seed(0)
    features = model(torch.rand(2, 3, 64, 64), text_emb)[2]

    one, two = (model.extra_loss(features, text_emb, torch.where(weight > 0, 1., fill), weight) for fill in (0., 1.))
    nothing = model.extra_loss(features, text_emb, torch.ones(2, 4, 64, 64), weight*0)

    assert one == two and nothing == 0


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "rs-zeroseg"])
def test_a_baseline_says_what_takes_its_idea_away(kind):
    config = presets(kind)["pocket"]

    plain = replace(config, **model_class(kind).without)

    assert plain != config
    with torch.no_grad():
        logits = build(plain)(torch.rand(1, 3, 64, 64), torch.randn(3, 384))[0]
    assert logits.isfinite().all()


def test_sed_gives_up_words_only_in_use(models):
    model = models["sed"]
    text_emb = model.encode_words(WORDS)
    with torch.no_grad():
        features = model.encode_image(torch.rand(2, 3, 64, 64))

        # in training all words go to the end
        full, _, kept = model.decode(features, text_emb)
        assert len(kept) == len(WORDS)
        assert torch.equal(model.train().score(features, text_emb)[0], full)

        # in use some are given up
        short, _, kept = model.eval().decode(features, text_emb, reject=1)
        assert torch.equal(model.score(features, text_emb)[0], short)
        assert 1 <= len(kept) <= len(WORDS)
    gone = [k for k in range(len(WORDS)) if k not in kept]
    assert (short[:, gone] == model.low).all() and (short[:, kept] > model.low).all()


def test_sed_refuses_widths_that_do_not_fit():
    odd = replace(presets("sed")["pocket"], dims=(8, 8, 8), guides=(8,))
    with pytest.raises(ValueError, match="2 stages need 2 guides"):
        build(odd)


def test_ebseg_tells_trained_words_from_new_ones(models):
    model = models["ebseg"]
    words = model.encode_words(["water", "road", "volcano"])
    assert not model.seen(words).any()

    model.remember(words[:2])
    told = model.seen(words).tolist()
    model.seen_emb.zero_()

    assert told == [True, True, False]


def lifted_then_convolved(x, lift, bias, kernel):
    "What `lifted_and_convolved` does at once, one after the other."
    return F.conv2d(F.conv_transpose2d(x, lift, bias, stride=2), kernel, padding=1), torch.zeros((), dtype=x.dtype)


@pytest.mark.parametrize("kind", ["cat-seg", "gsnet", "sed"])
def test_a_step_up_at_once_is_that_of_two_convolutions(kind, monkeypatch):
    "Logits and gradients, from the same seed. In 64 bit, for some gradients nearly cancel."
    torch.manual_seed(0)
    model = build(presets(kind)["pocket"]).double().train()
    image, text_emb, back = torch.rand(2, 3, 64, 32), torch.randn(3, model.vlm.dim), torch.randn(2, 3, 32, 16)
    found = []

    for _ in range(2):
        model.zero_grad()
        logits = model(image.double(), text_emb.double())[0]
        logits.backward(back.double())
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append(gradients | {"logits": logits.detach()})
        for module in (cat_seg, sed):
            monkeypatch.setattr(module, "lifted_and_convolved", lifted_then_convolved)

    at_once, one_after_other = found
    assert at_once.keys() == one_after_other.keys() and {"up.0.up.bias", "stages.0.up.bias"} & at_once.keys()
    for name, value in one_after_other.items():
        torch.testing.assert_close(at_once[name], value, rtol=1e-7, atol=1e-9*float(value.abs().max()) + 1e-12)

"""Faults in a model that its shapes do not show: each test fails when the one in `tools/mutants.json` is planted."""
import pytest
import torch
from torch import nn

from rs_zeroseg.baselines.cat_seg import CATSeg, shift_mask, word_attention
from rs_zeroseg.baselines.ebseg import MaskEmbeddings
from rs_zeroseg.baselines.masks import best_masks, masked_mean
from rs_zeroseg.baselines.scan import low_pass
from rs_zeroseg.baselines.sed import surviving_words
from rs_zeroseg.model.dsfe import resize
from rs_zeroseg.model.freezing import apply_freeze
from rs_zeroseg.model.losses import aggregate_text, bce_loss
from rs_zeroseg.model.mscam import MSCAM, CrossAttention
from rs_zeroseg.model.pocket_encoders import PocketViT
from rs_zeroseg.model.protocols import gsnet_views
from rs_zeroseg.model.registry import build, presets
from rs_zeroseg.model.segmenter import Features, to_image, whole_cells

F = nn.functional


def test_an_image_is_continued_at_its_edge_and_the_continuation_is_cut_off():
    image = torch.arange(6.).view(1, 1, 2, 3)

    padded = whole_cells(image, 4)
    cut = to_image(padded, Features(padded, None, (2, 3), (4, 4)))

    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert torch.equal(cut, image)


def test_resizing_keeps_pixel_centres():
    "At twice the size, output 0 lies a quarter before input 0."
    row = resize(torch.tensor([[[[0., 1.]]]]), (1, 4))

    assert row[0, 0, 0].tolist() == [0, .25, .75, 1]


@pytest.mark.parametrize("policy, learns", [("freeze", 0), ("attention", 4), ("qv", 2), ("full", 9)])
def test_a_policy_lets_learn_what_it_names(policy, learns):
    "In units of the weight of one projection of the one block; its MLP has as many as eight, and the rest is small."
    stream = PocketViT(32, depth=1)

    apply_freeze(stream, policy)

    block = [(name, p) for name, p in stream.named_parameters() if "blocks" in name and p.ndim > 1 and p.requires_grad]
    found = sum(p.numel() for _, p in block)/32**2
    assert found >= learns if policy == "full" else found == learns
    assert any("mlp" in name for name, _ in block) == (policy == "full")


# ---- RS-ZeroSeg

def without_answer(attention):
    "What a cross-attention reads has no weight: its residual is all that is left."
    nn.init.zeros_(attention.out.weight)
    nn.init.zeros_(attention.out.bias)
    return attention


def test_cross_attention_adds_to_what_asks():
    query, context = torch.randn(2, 1, 8, 4, 4)

    found = without_answer(CrossAttention(8, 2))(query, context)

    assert torch.equal(found, query)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_vlm_asks_and_the_rsi_stream_answers_unless_reversed(reverse):
    f_vlm, f_rsi = torch.randn(2, 1, 8, 4, 4)
    mscam = MSCAM(8, 2, (1,), 8, patch_px=8, reverse=reverse)
    without_answer(mscam.align[0])

    found = mscam.aligned(f_vlm, f_rsi)[0]

    assert torch.equal(found, f_rsi if reverse else f_vlm)


def test_ignored_pixels_are_not_learnt():
    "The first pixel is wrong and ignored, the second has the logit 0: log 2 nats."
    logits, target = torch.tensor([[[[9., 0.]]]]), torch.tensor([[[[0., 1.]]]])

    loss = bce_loss(logits, target, torch.tensor([[[[False, True]]]]))

    assert loss.item() == pytest.approx(.6931, abs=1e-4)


def test_words_weigh_by_their_area():
    found = aggregate_text(torch.eye(2), torch.tensor([[3., 4.]]))

    assert found[0].tolist() == pytest.approx([.6, .8])


def test_large_images_are_shrunk_with_all_their_pixels():
    "Stripes of two pixels at half their size: a triangle over four pixels gives 3/4 and 1/4, not 1 and 0."
    stripes = torch.tensor([1., 1., 0., 0.]).repeat(320).expand(3, 1280, 1280)

    row = gsnet_views(stripes)[0, 0, 100, 100:104]

    assert row.tolist() == pytest.approx([.75, .25, .75, .25], abs=1/255)


# ---- the baselines

def test_shifted_windows_do_not_see_across_the_edge():
    "A grid of two windows a side: the first holds one piece of the image, the last four."
    first, *_, last = shift_mask(4, 4, 2, 1)

    assert first.all() and torch.equal(last, torch.eye(4, dtype=torch.bool))


def test_attention_over_words_is_a_mean():
    "Where all words have the same value, that is what each reads."
    value = torch.randn(1, 1, 2, 2, 8).expand(1, 5, 2, 2, 8)

    found = word_attention(torch.randn(1, 5, 2, 2, 16), value, 2)

    torch.testing.assert_close(found, value)


def test_gsnet_reads_both_cost_volumes():
    torch.manual_seed(0)
    model = build(presets("gsnet")["pocket"]).eval()
    text_emb = F.normalize(torch.randn(2, model.vlm.dim), dim=-1)

    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64))
        more = model.costs(features, text_emb) - CATSeg.costs(model, features, text_emb)

    assert more.min() > 0 and more.max() < 1


def test_the_best_words_survive():
    coarse = torch.zeros(1, 3, 2, 2)
    coarse[:, 1], coarse[:, 0, 0, 0] = 1, 2

    assert surviving_words(coarse).tolist() == [0, 1]


def test_words_are_rejected_in_use_and_not_in_training():
    model = build(presets("sed")["pocket"])
    model.decode = lambda features, text_emb, reject=None: (reject, [], None)

    assert model.train().score(None, None)[0] is None and model.eval().score(None, None)[0] == 1


def test_a_share_of_the_images_own_vector_is_taken_away():
    model = build(presets("training-free")["pocket"])
    model.config.steps = 0
    tokens = F.normalize(torch.randn(1, model.vlm.dim, 4, 4), dim=1)

    found = model.fuse(torch.rand(1, 3, 32, 32), tokens)

    mean = F.normalize(tokens.mean((2, 3), keepdim=True), dim=1)
    torch.testing.assert_close(tokens - found, .3*mean.expand(found.shape))


def test_a_mask_is_the_mean_of_its_inside():
    features = torch.tensor([[[[1., 5.]]]])

    assert masked_mean(features, torch.tensor([[[[1., 0.]], [[1., 1.]]]])).flatten().tolist() == [1, 3]


def test_a_region_without_weight_is_no_region():
    "It would add nothing, and yet count in the mean over the regions."
    masks, target, weight = torch.randn(1, 2, 4, 4), torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    weight[:, 1] = 0

    _, words, *_ = best_masks(masks, target, weight)

    assert words.tolist() == [0, 2]


def test_a_trained_word_is_balanced_by_alpha_and_a_new_one_by_the_other():
    torch.manual_seed(0)
    model = build(presets("ebseg")["pocket"]).eval()
    text_emb, (a, b, c) = torch.eye(2, model.vlm.dim), F.normalize(torch.randn(3, 1, 4, model.vlm.dim), dim=-1)
    model.remember(text_emb[:1])

    f = MaskEmbeddings(torch.zeros(1, 4, 8, 8), a, b, c)
    found = model.balance(f, text_emb)

    own, steered, pooled = model.readings(f, text_emb)
    alpha = torch.tensor([model.config.alpha, model.config.alpha_unseen])
    torch.testing.assert_close(found, (1 - alpha - .4)*own + .4*steered + alpha*pooled)


def test_low_frequencies_pass():
    passes = low_pass(8, 8, 1.)

    assert passes[4, 4] == 0 and passes[0, 0] == passes.max() > .6

"CARH against Eq. 9 and 10, written as a double loop over words and pixels, and what its two switches promise."
import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from rs_zeroseg.model import pocket_encoders
from rs_zeroseg.model.carh import CARH, CosineHead
from rs_zeroseg.model.dsfe import resize
from rs_zeroseg.model.registry import assemble, build, pocket_streams
from rs_zeroseg.model.segmenter import PRESETS, ModelConfig, RSZeroSeg

FORMS = [(cosine, refine) for cosine in (True, False) for refine in (True, False)]


def speaking(head):
    "Random numbers in all that starts at zero."
    for p in (head.gain, head.bias, head.first_bias, head.tail.weight, head.tail.bias):
        nn.init.normal_(p)
    return head


def inputs(dtype=torch.float, words=3):
    "F_MSCAM on 4 x 6 cells, F_VLM on 2 x 3, and word vectors."
    g = torch.Generator().manual_seed(0)
    f, vlm, E = (torch.randn(s, dtype=dtype, generator=g) for s in ((1, 6, 4, 6), (1, 5, 2, 3), (words, 5)))
    return f, F.normalize(vlm, dim=1), E


def tent(i, n, size):
    "Bilinear weight of each of `n` coarse cells in fine cell `i` of `size`."
    u = min(max((i + .5)*n/size - .5, 0.), n - 1.)
    return [max(0., 1 - abs(u - k)) for k in range(n)]


def cosine_of(x, y):
    return x @ y/(x @ x).sqrt()/(y @ y).sqrt()


def literal(head, f, vlm, E):
    "Logits of S_k and A_k, each (K,h,w), of one image, word by word and cell by cell."
    (_, h, w), (_, h2, w2) = f.shape, vlm.shape
    logits, attention = [], []
    for e in E:
        a = {}
        for i in range(h):
            for j in range(w):
                q, k = head.query.weight @ (e/(e @ e).sqrt()*len(e)**.5), head.key.weight[:, :, 0, 0] @ f[:, i, j]
                a[i, j] = head.bias + head.gain*cosine_of(q, k)
                if head.log_scale is not None:
                    for r, v in enumerate(tent(i, h2, h)):
                        for c, u in enumerate(tent(j, w2, w)):
                            a[i, j] = a[i, j] + v*u*head.log_scale.exp()*(vlm[:, r, c] @ (e/(e @ e).sqrt()))
        hidden = {c: head.first.weight[:, :, 0, 0] @ (f[:, c[0], c[1]]*a[c].sigmoid()) + head.first_bias for c in a}
        for i, j in a:
            z = head.tail.bias[0] + (a[i, j] if head.refine else 0)
            for r in (-1, 0, 1):
                for c in (-1, 0, 1):
                    if (i + r, j + c) in hidden:
                        z = z + head.tail.weight[0, :, r + 1, c + 1] @ F.gelu(hidden[i + r, j + c])
            logits.append(z)
        attention += [x.sigmoid() for x in a.values()]
    return torch.stack(logits).view(len(E), h, w), torch.stack(attention).view(len(E), h, w)


@pytest.mark.parametrize(("cosine", "refine"), FORMS)
def test_values_and_gradients_are_those_of_the_equations(cosine, refine):
    torch.manual_seed(1)
    head = speaking(CARH(6, 5, attention_dim=4, hidden=3, cosine=cosine, refine=refine).double())
    f, vlm, E = (x.requires_grad_() for x in inputs(torch.double))
    tensors = [f, E, *head.parameters()] + [vlm]*cosine

    fast, slow = [x[0] for x in head(f, vlm, E)], literal(head, f[0], vlm[0], E)

    for a, b in zip(fast, slow):
        torch.testing.assert_close(a, b)
        mix = torch.randn(a.shape, dtype=a.dtype)
        gradients = (torch.autograd.grad((x*mix).sum(), tensors, retain_graph=True, allow_unused=True) for x in (a, b))
        for x, y in zip(*gradients):
            torch.testing.assert_close(x, y)


def test_a_new_head_says_what_the_vlm_says():
    head = CARH(6, 5)
    head.start_at(math.log(20.), -5.)
    f, vlm, E = inputs()

    logits, attention = head(f, vlm, E)

    reading = resize(20*torch.einsum("bdhw,kd->bkhw", vlm, F.normalize(E, dim=-1)) - 5, (4, 6))
    torch.testing.assert_close(logits, reading)
    assert torch.equal(logits, head.reading(head.prepare(f, vlm), E))
    torch.testing.assert_close(attention, reading.sigmoid())


@pytest.mark.parametrize(("cosine", "refine"), FORMS)
def test_no_word_changes_another_words_maps_and_chunks_change_nothing(cosine, refine):
    head = speaking(CARH(6, 5, cosine=cosine, refine=refine))
    f, vlm, E = inputs(words=19)

    together, alone = head(f, vlm, E), head(f, vlm, E[7:8])
    with torch.no_grad():
        chunked = head(f, vlm, E)

    for all_words, one, parts in zip(together, alone, chunked):
        torch.testing.assert_close(all_words[:, 7:8], one)
        torch.testing.assert_close(all_words, parts)


def test_without_the_cosine_no_head_sees_the_vlm():
    f, vlm, E = inputs()
    for head in (CARH(6, 5, cosine=False), CosineHead(6, 5, cosine=False)):
        before = {n: p.clone() for n, p in head.named_parameters()}
        head.start_at(3., -7.)

        assert torch.equal(head(f, vlm, E)[0], head(f, -vlm, E)[0])
        assert all(torch.equal(before[n], p) for n, p in head.named_parameters())


def test_the_cosine_head_adds_the_same_reading():
    torch.manual_seed(0)
    head, carh = CosineHead(6, 5), CARH(6, 5)
    f, vlm, E = inputs()
    for one in (head, carh):
        one.start_at(1.5, -3.)

    logits, attention = head(f, vlm, E)

    own = head.gain*torch.einsum("bdhw,kd->bkhw", F.normalize(head.proj(f), dim=1), F.normalize(E, dim=-1))
    assert attention is None
    torch.testing.assert_close(logits - own, carh(f, vlm, E)[0])


@pytest.mark.parametrize("carh", [True, False])
def test_a_model_starts_at_the_scale_of_its_vlm(carh):
    head = build(ModelConfig(dim=32, out_dim=16, carh=carh)).head
    assert (head.log_scale.exp().item(), head.bias.item()) == (pytest.approx(20.), -5.)
    with torch.device("meta"):
        streams = (nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1))
    for stream in streams:
        stream.dim = 8
    config = ModelConfig(vlm="ViT-B-16", rsi="dino_vitb16", dim=8, out_dim=8, carh=carh)
    head = assemble(config, *streams, None).head
    assert (head.log_scale.exp().item(), head.bias.item()) == (pytest.approx(100.), -22.5)


def test_features_know_no_words_and_the_head_alone_scores():
    model = build(PRESETS["pocket"])
    E = torch.randn(3, model.vlm.dim)

    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64))
        answer = model.query(features, E)
        logits, attention = model.head(features.dense, features.vlm, E)

    assert isinstance(model, RSZeroSeg)
    torch.testing.assert_close(features.vlm.norm(dim=1), torch.ones(1, 8, 8))
    assert torch.equal(answer.attention, attention) and torch.equal(model.score(features, E)[0], logits)
    torch.testing.assert_close(logits, model.head.reading(model.head.prepare(features.dense, features.vlm), E))


def test_strips_change_nothing(monkeypatch):
    "Without gradients maps are computed some rows at a time: the same features and scores, however few rows."
    model = assemble(PRESETS["pocket"], *pocket_streams(), None)
    speaking(model.head)
    image, words = torch.rand(2, 3, 100, 136), torch.randn(9, 384)
    with torch.enable_grad():
        whole = [t.detach() for t in model.score(model.encode_image(image), words)]

    for cells in (1, 50, 10**6):
        monkeypatch.setattr(pocket_encoders, "STRIP_CELLS", cells)
        with torch.no_grad():
            for a, b in zip(model.score(model.encode_image(image), words), whole):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

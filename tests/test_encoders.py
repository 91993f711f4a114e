"The image streams and the text encoders agree: one space, one unit of size, one interface."
import open_clip
import pytest
import torch
from torch.nn import functional as F

from rs_zeroseg.data.vocab import TEMPLATES
from rs_zeroseg.model.encoders import CLIPDense, TimmDense
from rs_zeroseg.model.freezing import POLICIES, apply_freeze
from rs_zeroseg.model.pocket_encoders import PocketViT, PocketVLM
from rs_zeroseg.model.pocket_text import PocketText
from rs_zeroseg.model.text import CLIP_NAMES, CachedText, CLIPText, make_clip


@pytest.fixture
def small_clip(monkeypatch):
    "CLIP in miniature, through the same code path as the real ones."
    config = dict(embed_dim=24, vision_cfg=dict(image_size=48, layers=2, width=32, head_width=8, patch_size=16),
                  text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1))
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(config))
    torch.manual_seed(0)
    return make_clip("ViT-B-16")


@pytest.mark.parametrize("name", CLIP_NAMES)
def test_clip_towers_meet_in_one_space(name):
    with torch.device("meta"):
        clip = make_clip(name)
        stream = CLIPDense(clip)
        f_vlm = stream(torch.zeros(1, 3, 64, 64))

    assert stream.dim == clip.text_projection.shape[1] == f_vlm.shape[1]


def test_words_score_every_patch(small_clip, tmp_path):
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    text, stream = CachedText(CLIPText(small_clip, tokenizer, "small"), tmp_path), CLIPDense(small_clip)
    words, image = ["water", "tennis court"], torch.rand(2, 3, 40, 70)

    f_vlm = stream(image)
    scores = torch.einsum("bdhw,kd->bkhw", F.normalize(f_vlm, dim=1), text.encode(words))

    assert text.dim == stream.dim
    assert scores.shape == (2, 2, 3, 5)
    assert scores.abs().max() <= 1 + 1e-5
    sentences = small_clip.encode_text(tokenizer([t.format("tennis court") for t in TEMPLATES]))
    word = F.normalize(sentences, dim=1).mean(0)
    by_hand = F.cosine_similarity(f_vlm[1, :, 2, 4], word, dim=0)          # one patch of one image, one word
    assert torch.allclose(scores[1, 1, 2, 4], by_hand, atol=1e-5)
    assert (scores[:, 0] - scores[:, 1]).abs().min() > 0                   # no patch answers both words alike


def test_taking_the_tower_apart_leaves_the_clip_as_it_was(small_clip):
    "CLIPDense shares layers with its CLIP; a split of query, key and value must not show in either."
    image = torch.rand(1, 3, 48, 48)
    before = small_clip.encode_image(image).detach()

    apply_freeze(CLIPDense(small_clip), "qv")

    assert torch.allclose(small_clip.encode_image(image), before, atol=1e-5)


def test_pocket_stream_fits_the_pocket_text():
    text = PocketText()
    stream = PocketVLM()

    E, f_vlm = text.encode(["water"]), stream(torch.rand(1, 3, 30, 50))

    assert stream.dim == E.shape[1] == f_vlm.shape[1]


def test_prompts_reach_the_key(small_clip):
    tokenizer = open_clip.get_tokenizer("ViT-B-16")

    all_of_them, one, again = (CLIPText(small_clip, tokenizer, "small", templates).key
                               for templates in (TEMPLATES, TEMPLATES[:1], TEMPLATES))

    assert all_of_them == again != one


STREAMS = {
    "clip": CLIPDense,
    "timm": lambda clip: TimmDense("vit_tiny_patch16_224"),
    "pocket": lambda clip: PocketViT(dim=32, depth=1),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_one_interface(make, small_clip):
    stream, image = make(small_clip).eval(), torch.rand(1, 3, 33, 70)
    h, w = (-(-side // stream.patch_px) for side in image.shape[-2:])

    before = stream(image)

    assert stream.input_px is None
    assert before.shape == (1, stream.dim, h, w)
    for policy in (*POLICIES, "freeze"):
        assert torch.allclose(apply_freeze(stream, policy)(image), before, atol=1e-4), policy

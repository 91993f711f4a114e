"Checkpoints over backbones that somebody else trained: small, complete with the weights files, refused with others."
import json
from dataclasses import replace

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.encoders import TimmDense
from rs_zeroseg.model.freezing import apply_freeze, joined
from rs_zeroseg.model.registry import MODELS, build, presets
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.model.text import make_clip

WORDS = ["road", "water", "tennis court"]
TINY = dict(embed_dim=32, vision_cfg=dict(image_size=64, layers=4, width=64, head_width=16, patch_size=16),
            text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1))
KINDS = [k for k in MODELS if k != "sed"]   # SED's hierarchy has no miniature


@pytest.fixture
def files(monkeypatch, tmp_path):
    "A miniature of CLIP, another one, and a small ViT, as weights files; CLIP names mean the miniature."
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY))
    monkeypatch.setenv("RS_ZEROSEG_CACHE", str(tmp_path/"cache"))
    torch.manual_seed(0)
    for name in ("clip", "other"):
        save_file(make_clip("ViT-B-16").state_dict(), tmp_path/f"{name}.safetensors")
    for name in ("rsi", "rsi2"):
        save_file(TimmDense("vit_tiny_patch16_224").model.state_dict(), tmp_path/f"{name}.safetensors")
    return tmp_path


def given(files, clip="clip", rsi="rsi"):
    return files/f"{clip}.safetensors", files/f"{rsi}.safetensors"


def miniature(kind):
    config = presets(kind)["base"]
    small = {"vlm_px": 64}
    if config.rsi:
        small |= {"rsi": "vit_tiny_patch16_224", "rsi_px": 64}
    return replace(config, **small)


def pretend_training(model, policy):
    "Move everything that would learn; where `qv` split tensors, they stay split."
    apply_freeze(model.vlm, policy)
    if getattr(model, "rsi", None) is not None:
        apply_freeze(model.rsi, "freeze")
    with torch.no_grad():
        for p in model.parameters():
            p.add_(.01*p.requires_grad)


def logits(model):
    torch.manual_seed(3)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        return model.query(model.encode_image(image), WORDS).logits


def of_backbones(names):
    return {name for name in names if name.startswith(("vlm.", "rsi."))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["freeze", "attention", "qv", "full"])
def test_only_what_learnt_is_saved_and_with_its_files_the_model_is_whole(files, kind, policy):
    model = build(miniature(kind), *given(files))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pretend_training(model, policy)
    after = joined(model.state_dict())

    folder = save(model.eval(), files/"small")
    held = load_file(folder/"model.safetensors")
    again = load(folder, *given(files))
    twice = save(again, files/"twice")

    changed = {k for k in after if not torch.equal(after[k], before[k])}
    assert of_backbones(held) == of_backbones(changed)
    assert set(held) - of_backbones(held) == set(after) - of_backbones(after)
    numbers = sum(v.numel() for v in held.values())
    assert (folder/"model.safetensors").stat().st_size < 4*numbers + 200*len(held) + 100

    state = again.state_dict()
    assert type(again) is type(model) and set(state) == set(after)
    assert all(torch.equal(state[k], v) for k, v in after.items())
    assert torch.equal(again.encode_words(WORDS), model.encode_words(WORDS))
    assert (twice/"model.safetensors").read_bytes() == (folder/"model.safetensors").read_bytes()


def test_half_precision_is_close(files):
    model = build(miniature("rs-zeroseg"), *given(files))
    folder = save(model, files/"small", half=True)

    half, full = logits(load(folder, *given(files))), logits(model)

    assert not torch.equal(half, full) and torch.allclose(half, full, atol=.05)


def test_other_backbones_are_refused(files):
    folder = save(build(miniature("rs-zeroseg"), *given(files)), files/"small", half=True)

    with pytest.raises(ValueError, match="over other clip weights than these .*--clip-weights"):
        load(folder, *given(files, clip="other"))
    with pytest.raises(ValueError, match="over other rsi weights than these .*--rsi-weights"):
        load(folder, *given(files, rsi="rsi2"))
    with pytest.raises(ValueError, match="tensors of CLIP do not fit"):
        load(folder, *given(files, clip="rsi"))


def test_without_files_the_hub_is_asked_and_what_was_left_out_is_missed(files, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(files/"hub"))
    folder = save(build(miniature("rs-zeroseg"), *given(files)), files/"small", half=True)

    with pytest.raises(RuntimeError, match="--clip-weights"):
        load(folder)

    config = json.loads((folder/"config.json").read_text())
    del config["left_out"]
    (folder/"config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Missing key"):
        load(folder, *given(files))


def test_another_text_tower_is_another_backbone(files):
    "The tower is no part of the model's tensors, yet its words would mean something else."
    state = load_file(files/"clip.safetensors")
    state["text_projection"] += .1
    save_file(state, files/"text.safetensors")
    folder = save(build(miniature("rs-zeroseg"), *given(files)), files/"small")

    with pytest.raises(ValueError, match="over other clip weights"):
        load(folder, *given(files, clip="text"))


def test_a_tensor_that_was_trained_cannot_be_missing(files):
    folder = save(build(miniature("rs-zeroseg"), *given(files)), files/"small")
    held = load_file(folder/"model.safetensors")
    held.pop(next(iter(held)))
    save_file(held, folder/"model.safetensors")

    with pytest.raises(ValueError, match="Missing key"):
        load(folder, *given(files))


def test_random_streams_are_saved_whole(files):
    "One stream from a file, the other drawn: the first is left out, the second is not."
    model = build(miniature("rs-zeroseg"), given(files)[0])

    folder = save(model, files/"half")

    held = load_file(folder/"model.safetensors")
    assert not any(k.startswith("vlm.") for k in held)
    assert {k for k in held if k.startswith("rsi.")} == {k for k in model.state_dict() if k.startswith("rsi.")}
    assert torch.equal(logits(load(folder, given(files)[0])), logits(model))   # and nothing is fetched for the second


def test_where_everything_was_drawn_everything_is_saved(files):
    drawn = build(miniature("rs-zeroseg"))

    folder = save(drawn, files/"drawn")

    assert set(load_file(folder/"model.safetensors")) == set(drawn.state_dict())
    assert "left_out" not in json.loads((folder/"config.json").read_text())


def test_a_local_file_gives_the_vectors_of_the_hub(files, monkeypatch):
    "The hub's answer is a file like any other."
    asked = []

    def hub_file(repo, names, argument):
        asked.append((repo, argument))
        return given(files)[argument == "rsi_weights"]

    monkeypatch.setattr("rs_zeroseg.model.text.hub_file", hub_file)
    monkeypatch.setattr("rs_zeroseg.model.encoders.hub_file", hub_file)

    with pytest.warns(UserWarning, match="base: no trained head: similarity only"):
        named, local = load("base"), load("base", given(files)[0])
    folder = save(build(miniature("rs-zeroseg"), "hub", "hub"), files/"small")
    from_hub, from_files = load(folder), load(folder, *given(files))

    assert torch.equal(named.encode_words(WORDS), local.encode_words(WORDS))
    assert torch.equal(logits(named), logits(local)) and torch.equal(logits(from_hub), logits(from_files))
    assert set(asked) == {("timm/vit_base_patch16_clip_224.openai", "clip_weights"),
                          ("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "rsi_weights")}


@pytest.mark.parametrize("name", [n for n in PRESETS if n != "pocket"])
def test_no_preset_gives_an_untrained_head(files, name):
    with pytest.warns(UserWarning, match=f"{name}: no trained head"):
        model = load(name, given(files)[0])

    assert model.config.kind == "zero-shot" and model.threshold == 0
    assert {n for n, _ in model.named_children()} == {"vlm"}


@pytest.mark.parametrize("name", [".", "..", "../model", "../use"])
def test_a_path_is_no_name_of_the_package(tmp_path, monkeypatch, name):
    "A relative path means a folder here, whatever the package has beside its weights."
    save(build(PRESETS["pocket"]), tmp_path/"run"/"model")
    (tmp_path/"run"/"model"/"below").mkdir()
    (tmp_path/"run"/"use").symlink_to(tmp_path/"run"/"model")
    monkeypatch.chdir(tmp_path/"run"/"model"/("below" if name == ".." else ""))

    assert load(name).config == PRESETS["pocket"]


@pytest.mark.parametrize("name, stream", [("pocket", "clip"), ("pocket", "rsi"), ("base", "rsi")])
def test_weights_that_are_not_used_are_said(files, name, stream):
    files = {f"{stream}_weights": "x.safetensors"} | ({"clip_weights": given(files)[0]} if name == "base" else {})
    with pytest.warns(UserWarning, match=f"{name}: it needs no {stream} weights from elsewhere, so x.safetensors is"):
        load(name, **files)

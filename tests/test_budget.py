"What the presets may cost, and that the count is the count of the model that is built."
import json
from dataclasses import replace

import pytest
import torch

from rs_zeroseg.model.budget import benchmark, budget, count_parameters, macs, parts_macs, skeleton
from rs_zeroseg.model.freezing import attention_parameters
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS


@pytest.fixture(scope="module")
def paper():
    return budget("paper", words=40, image_px=512)


def test_paper_preset_keeps_within_the_papers_figures(paper):
    assert paper["trainable_parameters"] <= 108.9e6 and paper["macs_512"] <= 332.8e9
    assert (paper["vlm_input_px"], paper["rsi_input_px"], paper["words"]) == (336, 512, 40)


def test_parts_add_up(paper):
    model = skeleton(PRESETS["paper"])

    count = count_parameters(model)

    assert paper["macs_512"] == paper["vlm_macs"] + paper["rsi_macs"] + paper["head_macs"]
    assert sum(count["parts"].values()) == count["total"] == paper["total_parameters"]
    learning = sum(p.numel() for p in attention_parameters(model.vlm)) + paper["new_parameters"]
    assert paper["trainable_parameters"] == learning == count["trainable"]


def test_answers_are_plain_numbers(paper):
    assert json.loads(json.dumps(paper)) == paper


def test_meta_counts_what_the_real_model_does():
    model, bare = build(PRESETS["pocket"]), skeleton(PRESETS["pocket"])
    image, text_emb = torch.rand(1, 3, 100, 100), torch.randn(3, model.vlm.dim)

    counted = budget("pocket", words=3, image_px=100)

    assert counted["macs_100"] == macs(lambda: model.query(model.encode_image(image), text_emb).logits)
    real, shapes = ({n: t.shape for n, t in m.state_dict().items()} for m in (model, bare))
    assert real == shapes


def test_each_word_costs_the_same_and_the_image_nothing_more():
    model = skeleton(PRESETS["paper"])

    one, two, forty = (parts_macs(model, k) for k in (1, 2, 40))

    step = two["query"] - one["query"]
    assert step > 0 and forty["query"] == one["query"] + 39*step
    for part in ("vlm", "rsi", "dsfe", "mscam"):
        assert forty[part] == one[part]


def test_the_fixed_input_of_a_stream_shows():
    small, large = (budget("paper", words=1, image_px=px) for px in (250, 512))

    assert small["vlm_macs"] == large["vlm_macs"] and small["rsi_macs"] < large["rsi_macs"]
    assert small["rsi_input_px"] == 256


def test_ablations_cost_less():
    config = PRESETS["pocket"]
    switches = ({}, {"mscam": False}, {"cosine": False})

    whole, *less = (budget(replace(config, **s))["new_parameters"] for s in switches)

    assert all(n < whole for n in less)


def test_unknown_preset():
    with pytest.raises(ValueError, match="pocket, base, base-b32, paper"):
        budget("huge")


def test_benchmark_measures_without_touching_the_model():
    model = build(PRESETS["pocket"]).train()
    before = {n: t.clone() for n, t in model.state_dict().items()}

    slow, fast = (benchmark(model, image_px=px, words=2, repeats=3) for px in (256, 32))

    assert model.training and all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert slow["encode_ms"] > fast["encode_ms"] and 0 < fast["query_share"] < 1

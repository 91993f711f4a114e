"""No GPU is needed to see that nothing is left behind on the CPU.

Fake tensors claim to lie on a GPU, have no contents, and refuse to meet others."""
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rs_zeroseg.evidence.real_ground import ClosedSet, UNet
from rs_zeroseg.model.pocket_text import PocketText
from rs_zeroseg.model.protocols import predict, predict_gsnet
from rs_zeroseg.model.registry import MODELS, build, presets
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.training.crops import WORDS, Pictures, batches_of, pocket_crops, unlabelled_sources
from rs_zeroseg.training.finetune import MaskLoss, start_model
from rs_zeroseg.training.pretrain import CaptionedVLM, MaskedRSI, caption_loss, masked_loss
from rs_zeroseg.use.view import encoded, steps_of


# not SED: which words it rejects depends on contents; the device is that of the image
@pytest.mark.parametrize("kind", [k for k in MODELS if k != "sed"])
@pytest.mark.parametrize("device", ("cpu", "cuda"))
def test_asking_runs_where_the_model_is(kind, device):
    model = build(presets(kind)["pocket"])
    text_emb = model.encode_words(["road", "water", "tree"])

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model.to_empty(device="cuda")
        text_emb = text_emb.to("cuda")
        answer = model.query(model.encode_image(torch.rand(1, 3, 100, 90, device=device)), text_emb)
        found = [answer.labels(), answer.labels(0), answer.probability, answer.attention]
        whole = predict(model, torch.rand(3, 300, 300), text_emb, block_px=256)
        views = predict_gsnet(model, torch.rand(3, 300, 300, device=device), text_emb)

    assert all(maps is None or maps.device.type == "cuda" for maps in found)
    assert whole.device.type == views.device.type == "cpu"


def test_a_closed_set_runs_where_its_network_is():
    model = ClosedSet(UNet(3), ["road", "tree", "water"]).eval()

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model.to_empty(device="cuda")
        answer = model.query(model.encode_image(torch.rand(1, 3, 20, 30)), model.encode_words(["water", "road"]))
        labels = answer.labels()

    assert labels.device.type == "cuda"


@pytest.mark.parametrize("kind", ("rs-zeroseg", "zero-shot"))
def test_the_view_asks_where_the_model_is_and_draws_on_the_cpu(kind):
    model = build(presets(kind)["pocket"])
    model.encode_words(["road", "tree"])

    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cuda")
        steps = steps_of(model, encoded(model, torch.rand(1, 3, 512, 512), (1., 1., 0.)), ["road", "tree"])

    assert {step.device.type for step in steps.values()} == {"cpu"}


@pytest.mark.parametrize("kind", ("rs-zeroseg", "cat-seg", "gsnet", "sed"))
def test_the_loss_runs_where_the_images_are(kind):
    model, align = start_model(presets(kind)["pocket"])

    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cuda")
        loss_fn = MaskLoss(torch.randn(3, 384), [False, True, False, False], align).to_empty(device="cuda")
        batch = torch.rand(2, 3, 64, 64, device="cuda"), torch.zeros(2, 64, 64, dtype=torch.long, device="cuda")
        loss, numbers = loss_fn(model, batch, loss_fn.counts(batch))

    assert loss.device.type == numbers["accuracy"].device.type == "cuda"


@pytest.mark.parametrize("stage", ("captions", "hidden patches"))
def test_pretraining_runs_where_the_images_are(stage):
    drawn = pocket_crops(2)
    sources = [Pictures(drawn)] if stage == "captions" else unlabelled_sources([drawn])
    pictures, generator = next(batches_of(sources, 2, 64)(0))
    model = build(PRESETS["pocket"])
    if stage == "captions":
        model, loss_fn = CaptionedVLM(model.vlm), caption_loss(PocketText().encode(list(WORDS)))
    else:
        model, loss_fn = MaskedRSI(model.rsi), masked_loss()

    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cuda")
        pictures = [(source, *(tensor.to("cuda") for tensor in tensors)) for source, *tensors in pictures]
        loss, _ = loss_fn(model, (pictures, generator))

    assert loss.device.type == "cuda"

"""The full-size networks with random weights, and the options that only they need."""
import json
import shutil
from dataclasses import replace

import pytest
import rasterio
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from rs_zeroseg import load
from rs_zeroseg.data.adapt import SampleDataset
from rs_zeroseg.data.imagery import FolderDataset
from rs_zeroseg.data.labels import IGNORE, LabelSet
from rs_zeroseg.data.pocket import write_domain
from rs_zeroseg.model.budget import budget
from rs_zeroseg.model.checkpoint import save
from rs_zeroseg.model.encoders import TimmDense
from rs_zeroseg.model.freezing import apply_freeze
from rs_zeroseg.model.registry import MODELS, build, model_class, presets
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.model.text import make_clip
from rs_zeroseg.training.finetune import MaskLoss, finetune, start_model
from rs_zeroseg.training.loop import TrainConfig, fit

PLAN = TrainConfig(steps=1, warmup=0, lr=1e-3, precision="no")


def random_batch(images, px, words=3):
    "Images and masks."
    return torch.rand(images, 3, px, px), torch.randint(0, words, (images, px, px))


def random_loss(model, align, words=3):
    "A loss on random words."
    return MaskLoss(F.normalize(torch.randn(words, model.vlm.dim), dim=-1), [False]*words, align)


@pytest.mark.parametrize("ignored", ["out", "negative"])
def test_what_stands_on_novel_pixels_never_reaches_the_loss(ignored):
    "Two novel categories change places: nothing changes. A base and an ignored pixel do: it depends on the rule."
    model, align = start_model(PRESETS["pocket"])
    loss_fn = MaskLoss(F.normalize(torch.randn(2, 384), dim=-1), [False, True, True, False], align, ignored=ignored)
    image, mask = torch.rand(1, 3, 64, 64), torch.tensor([0, 1, 2, 3, IGNORE])[torch.arange(64*64) % 5].view(1, 64, 64)

    def result(mask):
        model.zero_grad()
        loss, _ = loss_fn(model, (image, mask), loss_fn.counts((image, mask)))
        loss.backward()
        return loss.item(), sum(p.grad.abs().sum().item() for p in model.parameters() if p.grad is not None)

    swapped = torch.where(mask == 1, 2, torch.where(mask == 2, 1, mask))
    silent = torch.where((mask == 1) | (mask == 2), IGNORE, mask)
    base = result(mask)

    assert result(swapped) == base
    assert (result(silent) == base) == (ignored == "out")


def train(model, loss_fn, batch, plan=PLAN):
    "Some steps on one batch."
    return fit(model, loss_fn, lambda start: iter([batch]*plan.steps), plan, progress=False)


@pytest.fixture(scope="module")
def paper():
    "The configuration `paper` as it is, random: the model, and its alignment."
    return start_model(PRESETS["paper"], clip_weights=None, rsi_weights=None)


def test_paper_at_full_size_makes_a_step(paper):
    model, align = paper

    rows = train(model, random_loss(model, align, 39), random_batch(1, 512, 39))

    assert 0 < rows[-1]["loss"] < 100
    count, parameters = budget("paper"), list(model.parameters())
    assert sum(p.numel() for p in parameters) == count["total_parameters"]
    assert sum(p.numel() for p in parameters if p.requires_grad) == count["trainable_parameters"]


def should_move(name, clip, rsi):
    "Does this policy let a tensor of the model learn?"
    policy = clip if name.startswith("vlm.") else rsi if name.startswith("rsi.") else "full"
    return policy == "full" or policy == "attention" and "attn." in name


def test_nine_policies_tensor_by_tensor(paper):
    "Full-size networks on a few patches: a policy is a matter of tensors, not of pixels."
    model, align = paper
    model.vlm.input_px = 28
    assert sum("attn." in n for n, _ in model.vlm.named_parameters()) == 24*4
    assert sum("attn." in n for n, _ in model.rsi.named_parameters()) == 12*4

    for clip in ("freeze", "attention", "full"):
        for rsi in ("freeze", "attention", "full"):
            apply_freeze(model.vlm, clip)
            apply_freeze(model.rsi, rsi)
            before = {n: p.detach().clone() for n, p in model.named_parameters()}
            projection = align.proj.weight.detach().clone()

            train(model, random_loss(model, align), random_batch(1, 128))

            for n, p in model.named_parameters():
                moved, should = not torch.equal(p, before[n]), should_move(n, clip, rsi)
                assert moved == should, f"clip {clip}, rsi {rsi}: {n} {'moved' if moved else 'did not move'}"
            assert not torch.equal(align.proj.weight, projection)


@pytest.mark.parametrize("name, grid, width", (("base-b32", 16, 512), ("base", 24, 512), ("paper", 24, 768)))
def test_the_three_backbones_of_table_5(name, grid, width):
    model, _ = start_model(PRESETS[name], "freeze", "freeze", None, None)

    with torch.no_grad():
        logits, attention, features = model(torch.rand(1, 3, 64, 64), torch.randn(2, width))

    assert features.vlm.shape == (1, width, grid, grid) and model.rsi.dim == 768
    assert attention.shape == logits.shape == (1, 2, 16, 16)


@pytest.mark.parametrize("kind", [k for k in MODELS if k not in ("zero-shot", "training-free")])
@pytest.mark.parametrize("precision", ("no", "bf16"))
def test_every_method_makes_a_step_in_32_and_16_bit(kind, precision):
    "The first loss is that of the untrained model, in 16 bit too; then what learns has moved, and is finite."
    model, align = start_model(presets(kind)["pocket"], *model_class(kind).policy)
    loss_fn, batch = random_loss(model, align), random_batch(2, 64)
    plan = replace(PLAN, steps=2, precision=precision)
    with torch.no_grad():
        expected = loss_fn(model.train(), batch, loss_fn.counts(batch))[0].item()
    learns = {n: (p, p.detach().clone()) for n, p in model.named_parameters() if p.requires_grad}

    first = train(model, loss_fn, batch, replace(plan, steps=1, lr=0.))[-1]["loss"]
    second = train(model, loss_fn, batch, plan)[-1]["loss"]

    assert first == pytest.approx(expected, rel=1e-5 if precision == "no" else .02)
    assert 0 < second < 100
    assert all(p.isfinite().all() for p, _ in learns.values())
    assert sum(not torch.equal(p, before) for p, before in learns.values()) > .9*len(learns)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler")
def test_compiled_is_the_same(tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 2, size=128)
    plan = TrainConfig(steps=3, batch_size=1, precision="no")
    config = replace(PRESETS["pocket"], mscam=False, carh=False)                  # half a minute instead of a whole one

    def trained(compiled):
        options = dict(crop_px=128, workers=0, progress=False)
        return load(finetune(folder, tmp_path/str(compiled), config, replace(plan, compile=compiled), **options))

    plain, quick = trained(False).state_dict(), trained(True).state_dict()

    assert max((a - b).abs().max() for a, b in zip(plain.values(), quick.values())) < 1e-4


def test_local_weights_in_the_formats_of_other_methods(tmp_path):
    """OpenAI's CLIP and a DINO training checkpoint, as GSNet's RSIB is one, from files.

    What is kept of the run is small and stands on them again."""
    # the files
    torch.manual_seed(0)
    files = dict(clip_weights=str(tmp_path/"clip.safetensors"), rsi_weights=str(tmp_path/"rsib.pth"))
    save_file(make_clip("ViT-B-16").state_dict(), files["clip_weights"])
    rsi = TimmDense("dino_vitb16").model.state_dict()
    teacher = {f"module.backbone.{k}": v for k, v in rsi.items()} | {"module.head.last": torch.zeros(3)}
    torch.save({"teacher": teacher, "epoch": 5}, files["rsi_weights"])
    folder = write_domain("potsdam", tmp_path/"set", 2, size=64)
    config, plan = replace(PRESETS["base"], vlm_px=64, rsi_px=64), TrainConfig(steps=1, batch_size=1, precision="no")

    kept = finetune(folder, tmp_path/"out", config, plan, clip="freeze", crop_px=64, workers=0, progress=False, **files)

    assert not any(k.startswith(("vlm.", "rsi.")) for k in load_file(kept/"model.safetensors"))
    model = load(kept, **files)
    checkpoint = load_file(next((tmp_path/"out").glob("step-*"))/"model.safetensors")   # of the training: it holds all
    assert all(torch.equal(v, checkpoint[k]) for k, v in model.state_dict().items())
    assert checkpoint.keys() == model.state_dict().keys()
    assert all(torch.equal(model.rsi.model.state_dict()[k], v) for k, v in rsi.items())
    assert "| clip_policy | freeze |" in (kept/"README.md").read_text(encoding="utf-8")


def test_any_data_set_with_crops_and_labels(tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 2, size=64)
    pairs = FolderDataset(folder/"images", folder/"masks", folder/"labels.json")

    class Foreign:
        def __len__(self):
            return len(pairs)

        def __getitem__(self, n):
            return {"image": pairs[n]["image"]*255, "mask": pairs[n]["mask"]}

    categories = [dict(value=i, name=w) for i, w in enumerate(pairs.words)]
    labels = LabelSet("foreign", [*categories, dict(value=255, name="none", ignore=True)])
    data, plan = SampleDataset(Foreign(), labels, crop=32), TrainConfig(steps=2, batch_size=2, precision="no")

    finetune(data, tmp_path/"out", PRESETS["pocket"], plan, workers=0, progress=False)

    assert json.loads((tmp_path/"out"/"model"/"config.json").read_text(encoding="utf-8"))["model"] == "rs-zeroseg"


def test_what_is_wrong_is_said_before_the_night(tmp_path):
    folder, out = write_domain("potsdam", tmp_path/"set", 2, size=64), tmp_path/"out"
    plan = TrainConfig(steps=2, batch_size=1, precision="no")
    usual = dict(config=PRESETS["pocket"], plan=plan, crop_px=64, workers=0, progress=False)

    def run(**options):
        finetune(folder, out, **usual | options)

    (out/"model").mkdir(parents=True)
    (out/"model"/"thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="thesis.txt: not part of a checkpoint"):
        run()
    (out/"model"/"thesis.txt").unlink()
    with pytest.raises(ValueError, match="'tensorflow' is not installed here"):
        run(tracker="tensorflow")
    with pytest.raises(ValueError, match="the RSI stream is frozen"):
        run(plan=TrainConfig(rsi_from=1))
    with pytest.raises(ValueError, match="come with the package"):
        run(clip_weights="clip.pt")
    with pytest.raises(ValueError, match="shared evenly"):
        run(plan=TrainConfig(batch_size=3, accumulate=2))
    assert not list(out.glob("step-*"))

    # how often it is saved may change
    run()
    run(plan=replace(plan, save_every=7))


@pytest.mark.parametrize("workers", (0, 1))
def test_a_bad_mask_is_named_also_by_a_reading_process(workers, tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 1, size=64)
    with rasterio.open(next((folder/"masks").iterdir()), "r+") as mask:
        mask.write(torch.full((64, 64), 250, dtype=torch.uint8).numpy(), 1)
    options = dict(plan=TrainConfig(steps=2, batch_size=1), crop_px=64, workers=workers, progress=False)

    told = (r"^\S*potsdam_10000.tif: mask value 250 is not in the labels of pocket potsdam \(4096 of 4096 pixels\); "
            r"list or ignore it there$")
    with pytest.raises(ValueError, match=told):
        finetune(folder, tmp_path/"out", PRESETS["pocket"], **options)


def test_random_backbones_are_called_that_when_they_are_loaded(tmp_path):
    save(build(replace(PRESETS["base-b32"], vlm_px=32)), tmp_path/"model")

    with pytest.warns(UserWarning, match="random backbones"):
        load(tmp_path/"model")

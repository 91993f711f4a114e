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
from rs_zeroseg.model.budget import budget
from rs_zeroseg.model.checkpoint import MODELS, build, model_class, presets, save
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.data.imagery import FolderDataset, LabelSet
from rs_zeroseg.model.encoders import TimmDense
from rs_zeroseg.model.freezing import apply_freeze
from rs_zeroseg.training.finetune import MaskLoss, finetune, start_model
from rs_zeroseg.data.pocket import write_domain
from rs_zeroseg.model.text import make_clip
from rs_zeroseg.training.loop import TrainConfig, fit

PLAN = TrainConfig(steps=1, warmup=0, lr=1e-3, precision="no")


def one_step(model, images, px, words=3, plan=PLAN):
    batch = torch.rand(images, 3, px, px), torch.randint(0, words, (images, px, px))
    return fit(model, MaskLoss(F.normalize(torch.randn(words, model.vlm.dim), dim=-1), [False]*words, model.align), lambda start: iter([batch]*plan.steps), plan, progress=False)


@pytest.fixture(scope="module")
def paper():
    "The configuration `paper` as it is, random."
    return start_model(PRESETS["paper"], clip_weights=None, rsi_weights=None)


def test_paper_at_full_size_makes_a_step(paper):
    rows = one_step(paper, 1, 512, 39)
    assert 0 < rows[-1]["loss"] < 100
    count, own = budget("paper"), [p for n, p in paper.named_parameters() if not n.startswith("align.")]
    assert sum(p.numel() for p in own) == count["total_parameters"]
    assert sum(p.numel() for p in own if p.requires_grad) == count["trainable_parameters"]


def test_nine_policies_tensor_by_tensor(paper):
    "Full-size networks on a few patches: a policy is a matter of tensors, not of pixels."
    paper.vlm.input_px = 28
    learns = {"freeze": lambda n: False, "attention": lambda n: "attn." in n, "full": lambda n: True}
    assert sum("attn." in n for n, _ in paper.vlm.named_parameters()) == 24*4 and sum("attn." in n for n, _ in paper.rsi.named_parameters()) == 12*4
    for clip in learns:
        for rsi in learns:
            apply_freeze(paper.vlm, clip); apply_freeze(paper.rsi, rsi)
            before = {n: p.detach().clone() for n, p in paper.named_parameters()}
            one_step(paper, 1, 128)
            for n, p in paper.named_parameters():
                stream, _, inner = n.partition(".")
                should = learns[clip](inner) if stream == "vlm" else learns[rsi](inner) if stream == "rsi" else True
                assert torch.equal(p, before[n]) != should, f"clip {clip}, rsi {rsi}: {n} {'did not move' if should else 'moved'}"


@pytest.mark.parametrize("name, grid, width", (("base-b32", 16, 512), ("base", 24, 512), ("paper", 24, 768)))
def test_the_three_backbones_of_table_5(name, grid, width):
    config = PRESETS[name]; model = start_model(config, "freeze", "freeze", None, None)
    with torch.no_grad(): logits, attention, features = model(torch.rand(1, 3, 64, 64), torch.randn(2, width))
    assert features.vlm.shape == (1, width, grid, grid) and model.rsi.dim == 768 and attention.shape == logits.shape == (1, 2, 16, 16)


@pytest.mark.parametrize("kind", [k for k in MODELS if k not in ("zero-shot", "training-free")])
@pytest.mark.parametrize("precision", ("no", "bf16"))
def test_every_method_makes_a_step_in_32_and_16_bit(kind, precision):
    model = start_model(presets(kind)["pocket"], *model_class(kind).policy)
    rows = one_step(model, 2, 64, plan=replace(PLAN, steps=2, precision=precision))
    assert 0 < rows[-1]["loss"] < 100


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler")
def test_compiled_is_the_same(tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 2, size=128); plan = TrainConfig(steps=3, batch_size=1, precision="no")
    config = replace(PRESETS["pocket"], mscam=False, carh=False)                            # half a minute instead of a whole one
    plain, quick = (load(finetune(folder, tmp_path/str(compiled), config, replace(plan, compile=compiled), crop_px=128, workers=0, progress=False)) for compiled in (False, True))
    assert max((a - b).abs().max() for a, b in zip(plain.state_dict().values(), quick.state_dict().values())) < 1e-4


def test_local_weights_in_the_peers_formats(tmp_path):
    "OpenAI's CLIP and a DINO training checkpoint, as GSNet's RSIB is one, from files; what is kept of the run is small and stands on them again."
    torch.manual_seed(0); save_file(make_clip("ViT-B-16").state_dict(), tmp_path/"clip.safetensors")
    rsi = TimmDense("dino_vitb16").model.state_dict()
    torch.save({"teacher": {f"module.backbone.{k}": v for k, v in rsi.items()} | {"module.head.last": torch.zeros(3)}, "epoch": 5}, tmp_path/"rsib.pth")
    folder = write_domain("potsdam", tmp_path/"set", 2, size=64); files = dict(clip_weights=str(tmp_path/"clip.safetensors"), rsi_weights=str(tmp_path/"rsib.pth"))
    config = replace(PRESETS["base"], vlm_px=64, rsi_px=64)
    kept = finetune(folder, tmp_path/"out", config, TrainConfig(steps=1, batch_size=1, precision="no"), clip="freeze", crop_px=64, workers=0, progress=False, **files)
    assert not any(k.startswith(("vlm.", "rsi.")) for k in load_file(kept/"model.safetensors"))
    model, checkpoint = load(kept, **files), load_file(next((tmp_path/"out").glob("step-*"))/"model.safetensors")        # a checkpoint of the training holds all
    assert all(torch.equal(v, checkpoint[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(model.rsi.model.state_dict()[k], v) for k, v in rsi.items())
    assert "| clip_policy | freeze |" in (kept/"README.md").read_text(encoding="utf-8")


def test_any_data_set_with_crops_and_labels(tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 2, size=64); pairs = FolderDataset(folder/"images", folder/"masks", folder/"labels.json")
    class Foreign:
        def __len__(self): return len(pairs)
        def __getitem__(self, n): return {"image": pairs[n]["image"]*255, "mask": pairs[n]["mask"]}
    labels = LabelSet("foreign", [dict(value=i, name=w) for i, w in enumerate(pairs.words)] + [dict(value=255, name="none", ignore=True)])
    finetune(SampleDataset(Foreign(), labels, crop=32), tmp_path/"out", PRESETS["pocket"], TrainConfig(steps=2, batch_size=2, precision="no"), workers=0, progress=False)
    assert json.loads((tmp_path/"out"/"model"/"config.json").read_text(encoding="utf-8"))["model"] == "rs-zeroseg"


def test_what_is_wrong_is_said_before_the_night(tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 2, size=64); out = tmp_path/"out"
    def run(**options): finetune(folder, out, **dict(config=PRESETS["pocket"], plan=TrainConfig(steps=2, batch_size=1, precision="no"), crop_px=64, workers=0, progress=False) | options)
    (out/"model").mkdir(parents=True); (out/"model"/"thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="thesis.txt: not part of a checkpoint"): run()
    (out/"model"/"thesis.txt").unlink()
    with pytest.raises(ValueError, match="'tensorflow' is not installed here"): run(tracker="tensorflow")
    with pytest.raises(ValueError, match="the RSI stream is frozen"): run(plan=TrainConfig(rsi_from=1))
    with pytest.raises(ValueError, match="come with the package"): run(clip_weights="clip.pt")
    with pytest.raises(ValueError, match="shared evenly"): run(plan=TrainConfig(batch_size=3, accumulate=2))
    assert not list(out.glob("step-*"))
    run(); run(plan=TrainConfig(steps=2, batch_size=1, precision="no", save_every=7))                        # how often it is saved may change


@pytest.mark.parametrize("workers", (0, 1))
def test_a_bad_mask_is_named_also_by_a_reading_process(workers, tmp_path):
    folder = write_domain("potsdam", tmp_path/"set", 1, size=64)
    with rasterio.open(next((folder/"masks").iterdir()), "r+") as mask: mask.write(torch.full((64, 64), 250, dtype=torch.uint8).numpy(), 1)
    with pytest.raises(ValueError, match=r"^\S*potsdam_10000.tif: mask value 250 is not in the labels of pocket potsdam; list or ignore it there$"):
        finetune(folder, tmp_path/"out", PRESETS["pocket"], TrainConfig(steps=2, batch_size=1), crop_px=64, workers=workers, progress=False)


def test_random_backbones_are_called_that_when_they_are_loaded(tmp_path):
    save(build(replace(PRESETS["base-b32"], vlm_px=32)), tmp_path/"model")
    with pytest.warns(UserWarning, match="random backbones"): load(tmp_path/"model")

"The console script: exit codes, JSON, files, and agreement between commands; bad files are in test_bad_input.py."
import inspect
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import save_file

from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.data.vocab import tier
from rs_zeroseg.model.checkpoint import save
from rs_zeroseg.model.registry import build
from rs_zeroseg.model.segmenter import PRESETS, RSZeroSeg, ZeroShot
from rs_zeroseg.model.text import make_clip
from rs_zeroseg.training import pretrain, segmentation
from rs_zeroseg.use import cli
from rs_zeroseg.use.map_commands import DEMO_WORDS


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "A folder with an untrained checkpoint, a zero-shot one, a scene, and a data set of two scenes."
    folder = tmp_path_factory.mktemp("cli")
    torch.manual_seed(0)
    model = build(PRESETS["pocket"])
    save(model, folder/"model")
    save(ZeroShot(model.vlm, model.text), folder/"zero")
    write_scene(make_scene(3, size=96), folder/"in.tif")
    write_domain("flair", folder/"set", 2, size=96)
    return folder


def test_help_is_light():
    code = "from rs_zeroseg.use.cli import main; main(['segment', '--help'])"

    seen = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)

    assert seen.returncode == 0 and "Example:" in seen.stdout
    imported = {line.rpartition("|")[2].strip() for line in seen.stderr.splitlines()}
    assert "rs_zeroseg.use.cli" in imported and not imported & {"torch", "numpy", "rasterio", "matplotlib"}


def test_python_m_is_the_console_script(work):
    args = ("segment", work/"nowhere.tif", "--words", "a", "--out", work/"no.tif", "--checkpoint", work/"model")

    done = subprocess.run([sys.executable, "-m", "rs_zeroseg", *map(str, args)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: {work/'nowhere.tif'}: no such file\n"


def test_segment_json_is_the_map(work, script):
    words = ("tree", "road", "thoroughfare")

    done = script("segment", work/"in.tif", "--words", "tree, road,thoroughfare", "--out", work/"map.tif",
                  "--threshold", 0, "--checkpoint", work/"model", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    with rasterio.open(work/"map.tif") as src, rasterio.open(work/"in.tif") as image:
        coded = src.read(1)
        assert (src.crs, src.transform) == (image.crs, image.transform)
    assert [result["share"][w] for w in words] == pytest.approx([(coded == v).mean() for v in (1, 2, 3)])


def maps_and_masks(work, run, words):
    "What `segment` says on each image of the data set, and its masks, as two arrays (N,H,W) of codes."
    coded, truth = [], []
    for path in sorted((work/"set"/"images").iterdir()):
        # without its place on the ground `segment`, too, counts from the image's corner
        with rasterio.open(path) as src, rasterio.open(work/"plain.tif", "w", **dict(src.profile, crs=None)) as dst:
            dst.write(src.read())
        done = run("segment", work/"plain.tif", "--words", ",".join(words), "--out", work/"one.tif",
                   "--threshold", 0, "--checkpoint", work/"model", "--json")
        assert done.exit_code == 0
        with rasterio.open(work/"one.tif") as said, rasterio.open(work/"set"/"masks"/path.name) as mask:
            coded.append(said.read(1))
            truth.append(mask.read(1))
    return np.stack(coded), np.stack(truth)


def test_evaluate_agrees_with_the_maps_of_segment(work, run):
    "mIoU of `evaluate --json` is what one counts by hand on the maps that `segment` writes."
    labels = json.loads((work/"set"/"labels.json").read_text(encoding="utf-8"))
    kept = [c for c in labels["categories"] if not c["ignore"]]
    coded, truth = maps_and_masks(work, run, [c["name"] for c in kept])
    counted = np.isin(truth, [c["value"] for c in kept])
    expected = {}
    for k, category in enumerate(kept, 1):
        said, there = (coded == k) & counted, truth == category["value"]
        iou = 100*(said & there).sum()/(said | there).sum() if there.any() else None
        expected[category["name"]] = iou if iou is None else pytest.approx(iou, abs=.02)

    folder = ("--images", work/"set"/"images", "--masks", work/"set"/"masks", "--labels", work/"set"/"labels.json")
    told = json.loads(run("evaluate", *folder, "--checkpoint", work/"model", "--json").stdout)

    present = [v for v in told["per_class"].values() if v is not None]
    assert told["per_class"] == expected and len(present) > 3
    assert told["mIoU"] == pytest.approx(np.mean(present), abs=.02)
    assert "mIoU" in run("evaluate", *folder, "--checkpoint", work/"model").stdout


def test_evaluate_pocket(work, run):
    told = json.loads(run("evaluate", "--pocket", "-n", 1, "--checkpoint", work/"model", "--json").stdout)

    assert [r["domain"] for r in told] == ["landdiscover", "flair", "fast", "potsdam", "floodnet"]
    shown = {row["word"]: row for row in told[3]["per_word"]}
    assert {w: shown[w]["tier"] for w in ("road", "swimming pool")} == {"road": "base", "swimming pool": "novel"}
    for result in told:
        named = [row["iou"] for row in result["per_word"] if row["category"] == row["word"] and row["iou"] is not None]
        assert result["mIoU"] == pytest.approx(np.mean(named)), "the mean over the categories' names"
        for key in ("attention_ap", "attention_auroc", "attention_chance"):
            assert list(result[key]) == ["base", "novel", "unseen"]
            assert all(v is None or 0 <= v <= 100 for v in result[key].values())


def test_evaluate_pocket_from_another_seed(work, run):
    asked = ("evaluate", "--pocket", "-n", 1, "--checkpoint", work/"zero", "--json")
    first, again, other = (json.loads(run(*asked, *more).stdout) for more in ((), ("--seed", 1_000_000), ("--seed", 3)))

    assert first == again != other
    assert all(result["attention_ap"] is None for result in first), "the zero-shot reading has no A_k"


@pytest.mark.parametrize("checkpoint", ["model", "zero"])
def test_demo(work, run, checkpoint):
    out = work/f"demo {checkpoint}"
    files = [out/name for name in ("scene.tif", "map.tif", "figure.png")]

    done = run("demo", "--out", out, "--seed", 5, "--checkpoint", work/checkpoint)

    assert done.exit_code == 0
    assert all(str(file) in done.stdout and file.stat().st_size > 1000 for file in files)
    assert [tier(w) for w in DEMO_WORDS] == ["base"]*5 + ["novel", "unseen"]
    assert all(w in done.stdout for w in DEMO_WORDS)


def test_stderr_and_the_code_of_a_real_process(work, script):
    done = script("segment", work/"nowhere.tif", "--words", "a", "--out", work/"no.tif", "--checkpoint", work/"model",
                  "--json")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_interruption_is_130_and_a_defect_is_not_hidden(work, run, monkeypatch):
    def stopped_by(error):
        def encode(self, image):
            raise error
        monkeypatch.setattr(RSZeroSeg, "encode_image", encode)
        return run("segment", work/"in.tif", "--words", "a", "--out", work/"no.tif", "--checkpoint", work/"model")

    assert stopped_by(KeyboardInterrupt()).exit_code == 130
    assert isinstance(stopped_by(TypeError("a defect")).exception, TypeError)
    assert [p.name for p in work.iterdir() if "no.tif" in p.name] == []


def test_pretrain_and_train_hand_their_options_on(run, monkeypatch, tmp_path):
    calls = {}

    def listen(stage, name):
        signature = inspect.signature(getattr(stage, name))

        def record(*args, **kwargs):
            calls[name] = dict(signature.bind(*args, **kwargs).arguments)
            return args[0]
        monkeypatch.setattr(stage, name, record)

    listen(pretrain, "pretrain")
    listen(segmentation, "train_pocket")
    assert run("pretrain", "--out", tmp_path/"p", "--dubai", tmp_path, "--seed", 3).exit_code == 0
    train = ("train", "--out", tmp_path/"t", "--encoders", tmp_path/"p", "--steps", 7, "--seed", 4)
    assert run(*train).exit_code == 0

    assert calls["pretrain"] == dict(out=tmp_path/"p", real=tmp_path, images=None, seed=3, vlm="pocket")
    trained = calls["train_pocket"]
    assert (trained["encoders"], trained["plan"].steps, trained["seed"]) == (tmp_path/"p", 7, 4)


def test_lab_opens_the_notebooks(run, monkeypatch, tmp_path):
    from jupyterlab.labapp import LabApp
    started = []
    monkeypatch.setattr(LabApp, "launch_instance", lambda argv: started.append(argv))

    assert run("lab", "--no-browser").exit_code == 0
    assert Path(started[0][0]).name == "nbs" and started[0][1] == "--no-browser"

    elsewhere = type("Spec", (), dict(origin=str(tmp_path/"site"/"rs_zeroseg"/"__init__.py")))
    monkeypatch.setattr(cli, "find_spec", lambda name: elsewhere)
    lost = run("lab")
    assert lost.exit_code == 2 and "clone the repository" in lost.output


@pytest.mark.parametrize("missing, command", [("jupyterlab", ["lab"]), ("voila", ["lab", "--app", "losses"]),
                                              ("matplotlib", ["demo", "--out", "demo"])])
def test_a_missing_extra_is_named(run, monkeypatch, tmp_path, missing, command):
    monkeypatch.chdir(tmp_path)
    hidden = [name for name in sys.modules if name.partition(".")[0] == missing]
    for name in {missing, *hidden, "voila.app", "jupyterlab.labapp"}:
        monkeypatch.setitem(sys.modules, name, None)

    done = run(*command)

    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert f"this needs {missing}" in done.stderr and 'pip install -e ".[lab]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    "A full-size CLIP ViT-B/16 with random weights, in a file as the hub would give it."
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip")/"clip.safetensors"
    save_file(make_clip("ViT-B-16").state_dict(), path)
    return path


def test_a_preset_without_a_trained_head_gives_a_map_and_says_what_it_is(work, run, clip_file, monkeypatch, tmp_path):
    monkeypatch.setenv("RS_ZEROSEG_CACHE", str(tmp_path))

    done = run("segment", work/"in.tif", "--words", "water,tree", "--out", tmp_path/"map.tif", "--preset", "base",
               "--clip-weights", clip_file)

    assert done.exit_code == 0 and "water" in done.stdout, done.output
    assert "Note: base: no trained head: similarity only" in done.stderr
    with rasterio.open(tmp_path/"map.tif") as src, rasterio.open(work/"in.tif") as image:
        assert src.shape == image.shape
        assert set(np.unique(src.read(1))) <= {1, 2}, "at threshold 0 every pixel has a word"


def test_offline_a_preset_says_what_it_wanted_and_the_two_ways_out(work, run, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = ("open_clip_model.safetensors", "timm/vit_base_patch16_clip_224.openai", "http://127.0.0.1:9",
              "--clip-weights", "--preset pocket")
    segment = ("segment", work/"in.tif", "--words", "a", "--out", tmp_path/"no.tif")

    for command in (segment, ("demo", "--out", tmp_path/"demo"), ("evaluate", "--pocket")):
        began = time.perf_counter()
        done = run(*command, "--preset", "base")
        assert time.perf_counter() - began < 15
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
        assert [w for w in wanted if w not in done.stderr] == []

    lost = run(*segment, "--preset", "base", "--clip-weights", tmp_path/"none.safetensors")
    assert lost.exit_code == 2 and "none.safetensors: no such file" in lost.stderr
    assert not (tmp_path/"no.tif").exists()

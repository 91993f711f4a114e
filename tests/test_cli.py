"The console script: exit codes, JSON, files, and agreement between commands."
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from rs_zeroseg.model.checkpoint import build, save
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.use.cli import main
from rs_zeroseg.use.map_commands import DEMO_WORDS
from rs_zeroseg.model.segmenter import ZeroShot
from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.model.text import make_clip
from rs_zeroseg.data.vocab import tier


def run(*args): return CliRunner().invoke(main, [str(a) for a in args], prog_name="rs_zeroseg")


def script(*args):
    "A real process, for what only a process has: separate streams and an exit code."
    return subprocess.run([sys.executable, "-c", "from rs_zeroseg.use.cli import main; main(prog_name='rs_zeroseg')", *map(str, args)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "A folder with an untrained checkpoint, a zero-shot one, a scene, and a data set of two scenes."
    folder = tmp_path_factory.mktemp("cli"); torch.manual_seed(0)
    model = build(PRESETS["pocket"])
    save(model, folder/"model"); save(ZeroShot(model.vlm, model.text), folder/"zero")
    write_scene(make_scene(3, size=96), folder/"in.tif")
    write_domain("flair", folder/"set", 2, size=96)
    return folder


def test_help_is_light():
    seen = subprocess.run([sys.executable, "-X", "importtime", "-c", "from rs_zeroseg.use.cli import main; main(['segment', '--help'])"], capture_output=True, text=True)
    assert seen.returncode == 0 and "Example:" in seen.stdout
    assert not any(f"| {name}" in " ".join(seen.stderr.split()) for name in ("torch ", "numpy ", "rasterio "))


def test_segment_json_is_the_map(work):
    done = script("segment", work/"in.tif", "--words", "tree, road,thoroughfare", "--out", work/"map.tif", "--threshold", 0, "--checkpoint", work/"model", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    with rasterio.open(work/"map.tif") as src, rasterio.open(work/"in.tif") as image:
        coded = src.read(1); assert (src.crs, src.transform) == (image.crs, image.transform)
    assert [result["share"][w] for w in ("tree", "road", "thoroughfare")] == pytest.approx([(coded == v).mean() for v in (1, 2, 3)])


def test_evaluate_agrees_with_the_maps_of_segment(work):
    "mIoU of `evaluate --json` is what one counts by hand on the maps that `segment` writes."
    data, categories = work/"set", json.loads((work/"set"/"labels.json").read_text(encoding="utf-8"))["categories"]
    kept = [c for c in categories if not c["ignore"]]; words = [c["name"] for c in kept]
    coded, truth = [], []
    for path in sorted((data/"images").iterdir()):
        with rasterio.open(path) as src:                # without its place on the ground `segment`, too, counts from the image's corner
            with rasterio.open(work/"plain.tif", "w", **dict(src.profile, crs=None)) as dst: dst.write(src.read())
        assert run("segment", work/"plain.tif", "--words", ",".join(words), "--out", work/"one.tif", "--threshold", 0, "--checkpoint", work/"model", "--json").exit_code == 0
        with rasterio.open(work/"one.tif") as a, rasterio.open(data/"masks"/path.name) as b: coded.append(a.read(1)); truth.append(b.read(1))
    coded, truth = np.stack(coded), np.stack(truth)
    counted = np.isin(truth, [c["value"] for c in kept]); expected = {}
    for k, c in enumerate(kept, 1):
        said, there = (coded == k) & counted, truth == c["value"]
        expected[c["name"]] = 100*(said & there).sum()/(said | there).sum() if there.any() else None
    folder = ("--images", data/"images", "--masks", data/"masks", "--labels", data/"labels.json")
    told = json.loads(run("evaluate", *folder, "--checkpoint", work/"model", "--json").stdout)
    assert told["per_class"] == {w: None if v is None else pytest.approx(v, abs=.02) for w, v in expected.items()}
    present = [v for v in expected.values() if v is not None]
    assert told["mIoU"] == pytest.approx(np.mean(present), abs=.02) and len(present) > 3
    assert "mIoU" in run("evaluate", *folder, "--checkpoint", work/"model").stdout


def test_evaluate_pocket(work):
    told = json.loads(run("evaluate", "--pocket", "-n", 1, "--checkpoint", work/"model", "--json").stdout)
    assert [r["domain"] for r in told] == ["landdiscover", "flair", "fast", "potsdam", "floodnet"] and told[0]["per_word"]


@pytest.mark.parametrize("checkpoint", ["model", "zero"])
def test_demo(work, checkpoint):
    out = work/f"demo {checkpoint}"
    done = run("demo", "--out", out, "--seed", 5, "--checkpoint", work/checkpoint)
    assert done.exit_code == 0 and all(str(out/name) in done.stdout for name in ("scene.tif", "map.tif", "figure.png"))
    assert all((out/name).stat().st_size > 1000 for name in ("scene.tif", "map.tif", "figure.png"))
    assert [tier(w) for w in DEMO_WORDS] == ["base"]*5 + ["novel", "unseen"] and all(w in done.stdout for w in DEMO_WORDS)


def broken_inputs(work):
    "Name -> (arguments, what the one line must say)."
    (work/"text.tif").write_text("not an image"); (work/"empty").mkdir(exist_ok=True)
    (work/"list.json").write_text("[]"); (work/"few.json").write_text('{"name": "few", "categories": [{"value": 77, "name": "road"}]}')
    scene, to, ours = work/"in.tif", ("--out", work/"no.tif"), ("--checkpoint", work/"model")
    pairs = ("--images", work/"set"/"images", "--masks", work/"set"/"masks", "--labels")
    return {
        "no image": (("segment", work/"nowhere.tif", "--words", "a", *to, *ours), "nowhere.tif: no such file"),
        "no raster": (("segment", work/"text.tif", "--words", "a", *to, *ours), "text.tif: not an image"),
        "no words": (("segment", scene, "--words", " , ", *to, *ours), "at least one word"),
        "no folder": (("segment", scene, "--words", "a", "--out", work/"none"/"m.tif", *ours), "no such folder"),
        "no checkpoint": (("segment", scene, "--words", "a", *to, "--checkpoint", "pokcet"), "pokcet: no such preset"),
        "empty checkpoint": (("segment", scene, "--words", "a", *to, "--checkpoint", work/"empty"), "config.json is missing"),
        "no labels": (("evaluate", *pairs, work/"none.json", *ours), "none.json: no such file"),
        "odd labels": (("evaluate", *pairs, work/"list.json", *ours), "list.json"),
        "unlisted code": (("evaluate", *pairs, work/"few.json", *ours), "is not in the labels of few"),
        "no preset": (("budget", "--preset", "huge"), "huge"),
    }


@pytest.mark.parametrize("name", ["no image", "no raster", "no words", "no folder", "no checkpoint", "empty checkpoint", "no labels", "odd labels", "unlisted code", "no preset"])
def test_bad_input_is_one_line_and_2(work, name):
    args, says = broken_inputs(work)[name]
    done = run(*args); errors = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and len(errors) == 1 and says in errors[0], done.output
    assert "Traceback" not in done.output and not (work/"no.tif").exists()


def test_stderr_and_the_code_of_a_real_process(work):
    done = script("segment", work/"nowhere.tif", "--words", "a", "--out", work/"no.tif", "--checkpoint", work/"model", "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_interruption_is_130_and_a_defect_is_not_hidden(work, monkeypatch):
    from rs_zeroseg.model.segmenter import RSZeroSeg
    def stop(error):
        def encode(self, image): raise error
        monkeypatch.setattr(RSZeroSeg, "encode_image", encode)
        return run("segment", work/"in.tif", "--words", "a", "--out", work/"no.tif", "--checkpoint", work/"model", "--json")
    assert stop(KeyboardInterrupt()).exit_code == 130
    assert isinstance(stop(TypeError("a defect")).exception, TypeError)
    assert [p.name for p in work.iterdir() if "no.tif" in p.name] == []


def test_pretrain_and_train_hand_their_options_on(monkeypatch, tmp_path):
    import inspect
    from rs_zeroseg.training import pretrain as stages
    calls = {}
    for name in ("pretrain", "train_pocket"):
        signature = inspect.signature(getattr(stages, name))
        def record(*args, name=name, signature=signature, **kwargs):
            calls[name] = dict(signature.bind(*args, **kwargs).arguments)
            return args[0]
        monkeypatch.setattr(stages, name, record)
    assert run("pretrain", "--out", tmp_path/"p", "--dubai", tmp_path, "--seed", 3).exit_code == 0
    assert run("train", "--out", tmp_path/"t", "--encoders", tmp_path/"p", "--steps", 7).exit_code == 0
    assert calls["pretrain"] == dict(out=tmp_path/"p", real=tmp_path, seed=3)
    assert (calls["train_pocket"]["encoders"], calls["train_pocket"]["plan"].steps, calls["train_pocket"]["seed"]) == (tmp_path/"p", 7, 0)


def test_lab_opens_the_notebooks(monkeypatch, tmp_path):
    from jupyterlab.labapp import LabApp
    from rs_zeroseg.use import cli
    started = []
    monkeypatch.setattr(LabApp, "launch_instance", lambda argv: started.append(argv))
    assert run("lab", "--no-browser").exit_code == 0
    assert Path(started[0][0]).name == "nbs" and started[0][1] == "--no-browser"
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: type("spec", (), dict(origin=str(tmp_path/"site"/"rs_zeroseg"/"__init__.py"))))
    lost = run("lab")
    assert lost.exit_code == 2 and "clone the repository" in lost.output


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    "A full-size CLIP ViT-B/16 with random weights, in a file as the hub would give it."
    torch.manual_seed(0); path = tmp_path_factory.mktemp("clip")/"clip.safetensors"
    save_file(make_clip("ViT-B-16").state_dict(), path)
    return path


def test_a_preset_without_a_trained_head_gives_a_map_and_says_what_it_is(work, clip_file, monkeypatch, tmp_path):
    monkeypatch.setenv("RS_ZEROSEG_CACHE", str(tmp_path))
    done = run("segment", work/"in.tif", "--words", "water,tree", "--out", tmp_path/"map.tif", "--preset", "base", "--clip-weights", clip_file)
    assert done.exit_code == 0 and "Note: base: no trained head: similarity only" in done.stderr and "water" in done.stdout, done.output
    with rasterio.open(tmp_path/"map.tif") as src, rasterio.open(work/"in.tif") as image:
        assert src.shape == image.shape and set(np.unique(src.read(1))) <= {1, 2}, "at threshold 0 every pixel has a word"


def test_offline_a_preset_says_what_it_wanted_and_the_two_ways_out(work, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9"); monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for command in (("segment", work/"in.tif", "--words", "a", "--out", tmp_path/"no.tif"), ("demo", "--out", tmp_path/"demo"), ("evaluate", "--pocket")):
        began = time.perf_counter(); done = run(*command, "--preset", "base")
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1) and time.perf_counter() - began < 15, done.output
        for told in ("open_clip_model.safetensors", "timm/vit_base_patch16_clip_224.openai", "http://127.0.0.1:9", "--clip-weights", "--preset pocket"): assert told in done.stderr
    lost = run("segment", work/"in.tif", "--words", "a", "--out", tmp_path/"no.tif", "--preset", "base", "--clip-weights", tmp_path/"none.safetensors")
    assert lost.exit_code == 2 and "none.safetensors: no such file" in lost.stderr and not (tmp_path/"no.tif").exists()

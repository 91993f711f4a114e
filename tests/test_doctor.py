"`doctor`: a healthy workstation, and each illness played on it."
import json
import shutil
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from click.testing import CliRunner
from data_sets import script
from safetensors.torch import save_file

from rs_zeroseg.model.encoders import TimmDense
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.training import doctor, machine
from rs_zeroseg.training.doctor import SPLITS, check_weights, examine, wanted_weights
from rs_zeroseg.training.loop import TrainConfig
from rs_zeroseg.training.machine import GPU, healthy, report
from rs_zeroseg.use.cli import main

CARD = GPU("NVIDIA GeForce RTX 3090", int(25.4e9), int(24.9e9))
PAIRS = {"LandDiscover50K": 51846, "FLAIR": 16050, "FAST": None, "Potsdam": 14, "FloodNet": 898}


def once(function):
    "The same answer for the same arguments, over all tests: the shapes of full-size models take half a second each."
    answers = {}

    def kept(*args, **options):
        key = repr((args, options))
        if key not in answers:
            answers[key] = function(*args, **options)
        return answers[key]
    return kept


STEP_MEMORY, IMAGE_STREAMS = once(machine.step_memory), once(doctor.image_streams)


def write_manifest(folder, **changed):
    "A prepared set of three pairs, of which one has files."
    manifest = {"pairs": 3, "published": None, "files": {"images/a.png": "", "masks/a.png": "", "labels.json": ""}}
    manifest |= changed
    for file in manifest["files"]:
        (folder/file).parent.mkdir(parents=True, exist_ok=True)
        (folder/file).touch()
    (folder/"manifest.json").write_text(json.dumps(manifest))


def half_a_second(config, plan, images, **_):
    "Stands in for `measure_step`."
    return dict(seconds=.5*images, peak_gb=6.1, device="a GPU", precision="bf16")


@pytest.fixture
def workstation(monkeypatch, tmp_path):
    "Two RTX 3090, all data sets, a large disk, weights in the hub's cache, and a hub that must not be asked."
    # the machine
    monkeypatch.chdir(tmp_path)
    for module in (machine, doctor):   # the command asks the one, the examination the other
        monkeypatch.setattr(module, "gpus", lambda: [CARD, CARD])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2e12, 1e12, 1e12))
    monkeypatch.setattr(machine, "step_memory", STEP_MEMORY)
    monkeypatch.setattr(machine, "measure_step", half_a_second)

    # the weights
    cached = tmp_path/"cached.safetensors"
    cached.touch()
    monkeypatch.setattr(doctor, "image_streams", IMAGE_STREAMS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "cached_file", lambda repo, names: cached)
    monkeypatch.setattr(doctor, "make_clip", lambda name, file: None)
    monkeypatch.setattr(doctor, "TimmDense", lambda name, file: None)
    monkeypatch.setattr(doctor, "hub_silence", lambda: pytest.fail("the hub was asked, and nothing had to be fetched"))

    # the data
    for name, split in SPLITS.items():
        folder = tmp_path/"data"/name.lower()/split
        write_manifest(folder, data=name, split=split, pairs=PAIRS[name] or 500, published=PAIRS[name])
    return monkeypatch


def missing(*args, **options):
    "Name -> check, of what is not well."
    return {check.name: check for check in examine(*args, **options) if check.ok is False}


def everything(*args, **options):
    "Name -> check."
    return {check.name: check for check in examine(*args, **options)}


def run(*args):
    "The command."
    return CliRunner().invoke(main, ["doctor", *map(str, args)], prog_name="rs_zeroseg")


def test_two_3090_with_everything(workstation):
    done = run("--preset", "paper")

    assert done.exit_code == 0 and "Nothing is missing." in done.stdout and "MISSING" not in done.stdout
    for told in ("2: NVIDIA GeForce RTX 3090", "2 process(es) x 1 part(s) x 2", "7.3 GB for 2 image(s) on each GPU",
                 "not asked", "51,846 pairs of 51,846", "1.00 s a step, 8.3 hours for 30,000 steps"):
        assert told in done.stdout, told
    assert done.stderr.splitlines()[-1] == "measuring a step of paper ..."


def test_no_gpu(workstation):
    workstation.setattr(doctor, "gpus", lambda: [])

    for preset in ("base", "base-b32", "paper"):
        found = missing(preset)
        assert list(found) == ["GPUs"]
        assert "CUDA" in found["GPUs"].todo and "--preset pocket" in found["GPUs"].todo
    assert missing("pocket") == {}

    workstation.setattr(doctor, "gpus", lambda: [CARD, CARD])
    assert missing("pocket") == {}, "7 images, one process"


def test_a_card_that_is_too_small_gets_parts_or_a_larger_one(workstation):
    workstation.setattr(doctor, "gpus", lambda: [GPU("GeForce", int(8.4e9), int(8e9))])
    told = everything("paper")
    assert told["GPU memory"].ok is False and "--accumulate 2" in told["GPU memory"].todo
    assert "not measured" in told["time"].found
    assert missing("paper", plan=TrainConfig(accumulate=2)) == {} == missing("base")

    workstation.setattr(doctor, "gpus", lambda: [GPU("GeForce", int(6e9), int(5.8e9))])
    assert "at least 6.1 GB" in missing("paper")["GPU memory"].todo
    assert missing("base") == {}


def test_the_fullest_card_decides(workstation):
    workstation.setattr(doctor, "gpus", lambda: [CARD, replace(CARD, free=int(5e9))])

    assert "nvidia-smi" in missing()["GPU memory"].todo


def test_a_batch_that_cannot_be_shared(workstation):
    workstation.setattr(doctor, "gpus", lambda: [CARD]*3)

    found = missing()

    assert list(found) == ["batch"]
    assert found["batch"].todo == "give --batch-size 6, or use 2 of the 3 GPUs: CUDA_VISIBLE_DEVICES=0,1"
    assert run("--batch-size", 6).exit_code == 0


def test_a_step_that_fails_is_told(workstation):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    def old(*args, **options):
        raise RuntimeError("no kernel image is available for execution on the device")

    workstation.setattr(machine, "measure_step", full)
    assert "--accumulate" in missing()["time"].todo

    workstation.setattr(machine, "measure_step", old)
    found = missing()["time"]
    assert "no kernel image" in found.found and "driver" in found.todo


def test_without_the_memory_no_step_is_tried(workstation):
    workstation.setattr(doctor, "gpus", lambda: [])
    workstation.setattr(psutil, "virtual_memory", lambda: type("memory", (), {"available": 3e9}))
    workstation.setattr(machine, "measure_step", lambda *_, **__: pytest.fail("tried"))

    assert "not measured" in everything()["time"].found


def test_full_disk(workstation):
    workstation.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2e12, 2e12, 5e9))
    found = missing()["disk"]
    assert "5.0 GB free" in found.found
    assert "make room for 1.3 GB more" in found.todo and "--out" in found.todo

    workstation.setattr(doctor, "cached_file", lambda repo, names: None)
    workstation.setattr(doctor, "hub_silence", lambda: "")
    assert "make room for 3.3 GB more" in missing()["disk"].todo, "the run and the hub's cache share a disk"
    assert missing("base", out="runs/not/there/yet") == {}, "3.9 GB of 5"


def test_closed_folder(workstation, tmp_path):
    (tmp_path/"file").touch()

    assert "file/run" in missing("base", out=tmp_path/"file"/"run")["disk"].todo


def test_what_is_not_cached_is_asked_from_the_hub(workstation):
    workstation.setattr(doctor, "cached_file", lambda repo, names: None)
    workstation.setattr(doctor, "hub_silence", lambda: "")
    assert missing() == {} and "1.7 GB; fetched from the hub" in report(examine())

    workstation.setattr(doctor, "hub_silence", lambda: "ConnectTimeout")
    found = missing()
    assert list(found) == ["CLIP weights", "RSI weights"]
    clip, rsi = found["CLIP weights"].todo, found["RSI weights"].todo
    assert "hf download timm/vit_large_patch14_clip_336.openai open_clip_model.safetensors" in clip
    assert "--clip-weights" in clip
    assert "hf download timm/vit_base_patch16_224.dino model.safetensors" in rsi and "https://huggingface.co" in rsi


def test_a_hub_that_is_switched_off_or_not_needed(workstation):
    workstation.setattr(doctor, "cached_file", lambda repo, names: None)
    workstation.setattr(doctor, "hub_silence", lambda: "ConnectTimeout")
    workstation.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert missing()["RSI weights"].todo.startswith("unset HF_HUB_OFFLINE")

    workstation.setattr(doctor, "hub_silence", lambda: pytest.fail("asked"))
    files_are_given = missing(clip_weights=__file__, rsi_weights=__file__)
    assert files_are_given == {}, "nothing must be fetched"


def test_files_are_really_read(monkeypatch, tmp_path):
    "A file in the hub's cache, a given one, one of another model, one that is cut off, none."
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path/"hub"))
    config = replace(PRESETS["base"], rsi="vit_tiny_patch16_224")
    state = TimmDense("vit_tiny_patch16_224").model.state_dict()

    def check(given="hub"):
        return check_weights(wanted_weights(config, rsi_weights=given)[1], "ConnectError")

    # none
    assert check().ok is False and "not on this computer" in check().found

    # in the cache, as the hub lays it out, and given
    name = wanted_weights(config)[1].source[0].replace("/", "--")
    repo = tmp_path/"hub"/f"models--{name}"
    (repo/"refs").mkdir(parents=True)
    (repo/"refs"/"main").write_text("c0ffee")
    cached = repo/"snapshots"/"c0ffee"/"model.safetensors"
    cached.parent.mkdir(parents=True)
    save_file(state, cached)
    assert check().ok and check(cached).ok

    # of another model, and not there
    other = tmp_path/"other.safetensors"
    save_file({"pos_embed": state["pos_embed"]}, other)
    assert "another model" in check(other).found and "--rsi-weights" in check(other).todo
    assert "no such file" in check(tmp_path/"none.safetensors").found

    # cut off
    cached.write_bytes(cached.read_bytes()[:10_000])
    assert "not a weights file" in check().found
    assert f"delete {repo}" in check().todo.replace("~", str(Path.home()))


def test_the_sets_of_the_scripts():
    for name, split in SPLITS.items():
        recipe = script(name.lower()).RECIPE
        assert (recipe.name, recipe.folder, recipe.splits[0]) == (name, name.lower(), split)


# set -> what is found, what is to be done
ILL_SETS = {
    "LandDiscover50K": ("miniature or incomplete: 3 of 51,846 pairs",
                        "python data_scripts/landdiscover50k.py --split train"),
    "FLAIR": ("1 of 3 files are missing, the first is images/a.png", "python data_scripts/flair.py --split test"),
    "FAST": ("missing",
             "python data_scripts/fast.py --split val (it downloads the set, or says what to fetch by hand)"),
    "Potsdam": ("missing or damaged", "move data/potsdam/val away, then `python"),
    "FloodNet": ("holds FloodNet, test", "--split val+test"),
}


def test_data_that_is_missing_damaged_or_a_miniature(workstation, tmp_path):
    data = tmp_path/"data"
    shutil.rmtree(data/"fast")
    (data/"potsdam"/"val"/"manifest.json").write_text("{")
    (data/"flair"/"test"/"images"/"a.png").unlink()
    write_manifest(data/"floodnet"/"val+test", data="FloodNet", split="test", pairs=448, published=448)
    write_manifest(data/"landdiscover50k"/"train", data="LandDiscover50K", split="train", pairs=3, published=51846)

    found = missing()

    assert list(found) == list(SPLITS)
    for name, (told, todo) in ILL_SETS.items():
        assert told in found[name].found and todo in found[name].todo, found[name]
    assert "--out elsewhere/fast/val" in missing(data="elsewhere")["FAST"].todo


def test_the_command_says_what_to_do_and_ends_with_1(workstation, tmp_path):
    workstation.setattr(doctor, "gpus", lambda: [])
    shutil.rmtree(tmp_path/"data"/"fast")

    done = run("--preset", "base")
    listed = done.stdout.partition("What to do:\n")[2].splitlines()
    assert done.exit_code == 1
    assert [line[:3] for line in listed] == ["1. ", "2. "]
    assert listed[1].startswith("2. python data_scripts/fast.py --split val (it downloads")

    told = run("--preset", "base", "--json")
    result = json.loads(told.stdout)
    assert told.exit_code == 1
    assert (result["preset"], result["ok"]) == ("base", False)
    assert [c["name"] for c in result["checks"] if c["ok"] is False] == ["GPUs", "FAST"]

    assert run("--preset", "papper").exit_code == 2


def test_pocket_needs_nothing(monkeypatch):
    monkeypatch.setattr(doctor, "hub_silence", lambda: pytest.fail("asked"))

    done = run("--preset", "pocket")

    assert done.exit_code == 0 and "Nothing is missing." in done.stdout
    assert healthy(examine("pocket"))

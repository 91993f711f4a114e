"""Killed at random moments and started again, `train`, `pretrain` and `segment` end with the same bytes.

`make soak` kills each 20 times.
"""
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

KILLS = int(os.environ.get("SOAK_KILLS", 1))   # of each command
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SMALL = """
import sys
from dataclasses import replace
from rs_zeroseg.training.pretrain import RSI_PLAN, VLM_PLAN, pretrain
from rs_zeroseg.training.segmentation import SEGMENTATION_PLAN, train_pocket

out, kind, encoders = sys.argv[1:]


def plan(full, steps):
    return replace(full, steps=steps, batch_size=4, save_every=3)


if kind == "pretrain":
    pretrain(out, scenes=6, vlm_plan=plan(VLM_PLAN, 30), rsi_plan=plan(RSI_PLAN, 20), progress=False)
else:
    train_pocket(out, encoders, scenes=6, plan=plan(SEGMENTATION_PLAN, 30), progress=False)
"""
SEGMENT = "from rs_zeroseg.use.cli import main; main()"


def command(kind:str, out:Path, given:Path) -> list[str]:
    "The process that makes `out` from `given`."
    if kind == "segment":
        options = ["segment", str(given), "--words", "water,road,tree", "--out", str(out/"map.tif")]
        return [sys.executable, "-c", SEGMENT, *options]
    return [sys.executable, "-c", SMALL, str(out), kind, str(given)]


def contents(out:Path) -> dict[str, bytes]:
    "Every file of a run but its log of times, by relative name."
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name != "metrics.jsonl"]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def empty(folder:Path) -> None:
    "Remove everything in a folder."
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
        else:
            path.rmdir()


def run(args:list[str]) -> float:
    "One undisturbed run with one thread; returns its seconds."
    began = time.perf_counter()
    done = subprocess.run(args, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return time.perf_counter() - began


def kill_after(args:list[str], seconds:float) -> bool:
    "Start, kill with SIGKILL after `seconds`; True if it was still at work."
    silent = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(args, env=os.environ | ONE_THREAD, **silent)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    "What each command starts from: a raster of several windows, and a small pretraining."
    folder = tmp_path_factory.mktemp("made")
    tif, encoders = folder/"in.tif", folder/"encoders"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 2200, 2200), dtype=np.uint8)
    profile = dict(driver="GTiff", width=2200, height=2200, count=3, dtype="uint8")
    place = dict(crs="EPSG:32633", transform=from_origin(5e5, 5e6, .5, .5))
    with rasterio.open(tif, "w", **profile, **place) as dst:
        dst.write(pixels)
    run(command("pretrain", encoders, tif))
    return dict(segment=tif, pretrain=tif, train=encoders)


@pytest.mark.parametrize("kind", ["pretrain", "train", "segment"])
def test_killed_runs_end_with_the_same_bytes(kind, made, tmp_path):
    whole, killed, draw = tmp_path/"whole", tmp_path/"killed", random.Random(kind)
    whole.mkdir()
    killed.mkdir()
    disturbed = command(kind, killed, made[kind])
    seconds = run(command(kind, whole, made[kind]))

    kills = tries = 0
    while kills < KILLS and tries < 4*KILLS:
        tries += 1
        if kill_after(disturbed, draw.uniform(.3, 1)*seconds):
            kills += 1
        else:                                    # it was done before the kill: start again from nothing
            empty(killed)
    run(disturbed)

    assert kills == KILLS
    assert contents(killed) == contents(whole)

"""Two processes do what one does, and what a killed one leaves behind is enough."""
import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import rasterio
import torch
from safetensors.torch import load_file

from rs_zeroseg.data.pocket import write_domain

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="torchrun on Windows needs a build of PyTorch with libuv")

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Ten scenes, of which one has no label at all and one has few."
    folder = write_domain("potsdam", tmp_path_factory.mktemp("processes")/"set", 10, size=96)
    categories = json.loads((folder/"labels.json").read_text())["categories"]
    ignored = next(c["value"] for c in categories if c["ignore"])
    for n, kept in ((0, 0), (3, 7)):
        with rasterio.open(folder/"masks"/f"potsdam_{10_000 + n}.tif", "r+") as mask:
            codes = mask.read(1)
            codes[kept:] = ignored
            mask.write(codes, 1)
    return folder


def command(folder, out, processes, *options):
    "What one would type."
    launch = ()
    if processes > 1:
        launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
    usual = ("--preset", "pocket", "--precision", "no", "--crop-px", "64", "--workers", "0", "--lr", "1e-3")
    return [sys.executable, *launch, "-m", "rs_zeroseg", "finetune", "--data", str(folder), "--out", str(out),
            *usual, *map(str, options)]


def start(*args):
    return subprocess.Popen(command(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ONE_THREAD)


def run(*args):
    "Exit code, and all that was said."
    process = start(*args)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def run_well(*args):
    code, said = run(*args)
    assert code == 0, said


def result(out):
    "Loss and accuracy as logged, and the trained tensors."
    row = json.loads((out/"metrics.jsonl").read_text().splitlines()[-1])
    return np.array([row["loss"], row["accuracy"]]), load_file(out/"model"/"model.safetensors")


def own_tensors(out):
    "Those of the loss, from the last checkpoint."
    return load_file(next(out.glob("step-*"))/"loss.safetensors")


def test_two_processes_and_two_parts_are_one_step(folder, tmp_path):
    options = ("--steps", 6, "--batch-size", 4, "--rsi", "attention", "--rsi-from", 3, "--rsi-multiplier", 1)

    for name, processes, more in (("one", 1, ()), ("two", 2, ()), ("parts", 2, ("--accumulate", 2))):
        run_well(folder, tmp_path/name, processes, *options, *more)

    numbers, tensors = result(tmp_path/"one")
    own = own_tensors(tmp_path/"one")
    assert set(own) == {"align.proj.weight", "align.proj.bias"}
    for name in ("two", "parts"):
        found, weights = result(tmp_path/name)
        assert np.abs(found - numbers).max() < 1e-5
        assert max((weights[k] - v).abs().max() for k, v in tensors.items()) < 1e-5
        assert max((own_tensors(tmp_path/name)[k] - v).abs().max() for k, v in own.items()) < 1e-5


def test_one_of_two_is_killed_and_the_run_ends_as_if_it_had_not_been(folder, tmp_path):
    options = ("--steps", 40, "--batch-size", 2, "--save-every", 8)
    run_well(folder, tmp_path/"whole", 2, *options)

    process = start(folder, tmp_path/"killed", 2, *options)
    while not list((tmp_path/"killed").glob("step-*")) and process.poll() is None:
        time.sleep(.05)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [p for p in children if "finetune" in p.cmdline()]
    assert len(workers) == 2
    workers[1].kill()
    process.communicate(timeout=120)
    assert process.returncode != 0 and not (tmp_path/"killed"/"model").exists()

    # another number of processes is refused
    code, said = run(folder, tmp_path/"killed", 1, *options)
    assert code == 2 and "made by 2 process(es), and this run has 1" in said.splitlines()[-1]

    # the same number goes on
    run_well(folder, tmp_path/"killed", 2, *options)
    (_, tensors), (_, weights) = result(tmp_path/"whole"), result(tmp_path/"killed")
    assert all(torch.equal(weights[k], v) for k, v in tensors.items())


def test_two_processes_measure_what_one_does(folder, tmp_path):
    "Ten images, an odd one per process: the same counts, the same rows, one file, one best model."
    val = ("--val", folder, "--val-every", 2, "--steps", 3, "--batch-size", 2, "--val-protocol", "native")

    run_well(folder, tmp_path/"one", 1, *val)
    run_well(folder, tmp_path/"two", 2, *val)

    one, two = ([json.loads(line) for line in (tmp_path/name/"validation.jsonl").read_text().splitlines()]
                for name in ("one", "two"))
    assert [row["step"] for row in two] == [2, 3] and two[0].keys() == one[0].keys()
    for a, b in zip(one, two):
        assert (a["images"], a["protocol"]) == (b["images"], b["protocol"]) == (10, "native")
        assert abs(a["mIoU"] - b["mIoU"]) < .2                           # the weights are equal to 1e-5
    assert (tmp_path/"two"/"best"/"model.safetensors").is_file()
    configs = [json.loads((tmp_path/name/"model"/"config.json").read_text()) for name in ("one", "two")]
    thresholds = [config["threshold"] for config in configs]
    assert abs(thresholds[0] - thresholds[1]) < 1e-3 and thresholds[0] != .5


def test_a_batch_that_cannot_be_shared(folder, tmp_path):
    code, said = run(folder, tmp_path/"out", 2, "--batch-size", 3)

    assert code != 0 and "a batch of 3 images cannot be shared evenly by 2 process(es)" in said


CELL = """
from accelerate import notebook_launcher
from rs_zeroseg.model.segmenter import PRESETS
from rs_zeroseg.training.finetune import finetune
from rs_zeroseg.training.loop import TrainConfig
plan = TrainConfig(steps=4, batch_size=2, precision="no", lr=1e-3)
arguments = ({data!r}, {out!r}, PRESETS["pocket"], plan, .2, "attention", "freeze", "hub", "hub", 64, 0)
notebook_launcher(finetune, arguments, num_processes=2)
"""


def test_from_a_notebook_cell(folder, tmp_path):
    "The cell of 3_training/06_finetune, in a process that has trained nothing yet."
    cell = CELL.format(data=str(folder), out=str(tmp_path/"cell"))

    done = subprocess.run([sys.executable, "-c", cell], capture_output=True, text=True, env=ONE_THREAD, timeout=300)
    assert done.returncode == 0, done.stderr
    run_well(folder, tmp_path/"one", 1, "--steps", 4, "--batch-size", 2)

    (found, _), (numbers, _) = result(tmp_path/"cell"), result(tmp_path/"one")
    assert np.abs(found - numbers).max() < 1e-5

"""Ctrl-C ends every command with 130 and one line, whenever it comes after the command has begun.

Each command is a process that gets SIGINT after a random delay, as does all that it has started (`make soak` does
it 5 times, INTERRUPTS). JupyterLab is tried without a terminal: on one it asks first, and after a yes it ends with 0.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.training.loop import TrainConfig
from rs_zeroseg.training.pretrain import pretrain
from rs_zeroseg.use.ask import encode
from rs_zeroseg.use.cli import main

TIMES = int(os.environ.get("INTERRUPTS", 1))
LONGEST = 5        # seconds until Ctrl-C; a command that is done before is started again and interrupted sooner
BEGIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)   # a test in the background would hand on "ignored"
from rs_zeroseg.use.cli import main
print("begun", file=sys.stderr, flush=True)
main(prog_name="rs_zeroseg")
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal on Linux and macOS")
SMALL = TrainConfig(steps=2, batch_size=2, save_every=2, precision="no")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    "What the commands read: a raster, a small data set, a long ledger, and what `pretrain` made in two steps."
    folder = tmp_path_factory.mktemp("given")
    write_scene(make_scene(0, size=512), folder/"town.tif")
    write_domain("flair", folder/"set", 2, size=64)
    encode(folder/"town.tif", folder/"town_features", load("pocket"), progress=False)
    pretrain(folder/"encoders", scenes=2, vlm_plan=SMALL, rsi_plan=SMALL, progress=False)
    runs = ({"setting": {"seed": seed}, "metrics": {}} for seed in range(50_000))
    (folder/"ledger.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    return folder


def long_ones(given, out):
    "Command -> its arguments; most of them would run for minutes."
    pocket = ("--data", given/"set", "--preset", "pocket", "--crop-px", 64, "--batch-size", 2, "--workers", 1)
    server = ("--no-browser", "--ServerApp.port=0", "--allow-root")
    return {
        "segment": (given/"town.tif", "--words", ",".join(f"word {n}" for n in range(3000)), "--out", out/"map.tif"),
        "encode": (given/"town.tif", "--out", out/"features"),
        "ask": (given/"town_features", "--words", ",".join(f"word {n}" for n in range(3000)), "--out", out/"map.tif"),
        "demo": ("--out", out),
        "evaluate": ("--pocket", "-n", 500),
        "pretrain": ("--out", out),
        "train": ("--encoders", given/"encoders", "--out", out, "--steps", 3000),
        "finetune": (*pocket, "--steps", 3000, "--out", out),
        "sweep": ("table6", "--ledger", out/"ledger.jsonl", "--seeds", 50),
        "ledger status": ("--ledger", given/"ledger.jsonl"),
        "ledger merge": (given/"ledger.jsonl", "--out", out/"ledger.jsonl"),
        "doctor": ("--preset", "pocket", "--data", given, "--out", out),
        "budget": ("--preset", "paper"),
        "bench raster": ("--size", 6000),
        "bench ask": ("--size", 6000),
        "bench query": ("--preset", "pocket"),
        "bench shifts": ("-n", 500),
        "bench step": ("--preset", "pocket", "--steps", 3000, "--crop-px", 64),
        "bench models": ("--preset", "pocket"),
        "lab": server,
        "lab --app": ("losses", "--no-browser", "--Voila.port=0"),
    }


COMMANDS = ("segment", "encode", "ask", "demo", "evaluate", "pretrain", "train", "finetune", "sweep",
            "ledger status", "ledger merge", "doctor", "budget", "bench raster", "bench ask", "bench query",
            "bench shifts", "bench step", "bench models", "lab", "lab --app")


def interrupted(args, delay, log, sign="begun"):
    "Exit code and errors of a command that gets Ctrl-C so many seconds after it wrote `sign`; was it still at work?"
    with open(log, "w") as errors:
        pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        process = subprocess.Popen([sys.executable, "-c", BEGIN, *map(str, args)], **pipes)
        try:
            while sign not in log.read_text() and process.poll() is None:
                time.sleep(.02)
            time.sleep(delay)
            at_work = process.poll() is None
            if at_work:
                os.killpg(process.pid, signal.SIGINT)
            return process.wait(240), log.read_text(), at_work
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_with_130(given, tmp_path, name):
    draw, ends, longest = random.Random(name), 0, LONGEST
    for n in range(TIMES + 5):
        (tmp_path/str(n)).mkdir()
        args = [*name.split(), *long_ones(given, tmp_path/str(n))[name]]

        code, told, at_work = interrupted(args, draw.uniform(0, longest), tmp_path/f"{n}.log")

        ended = code == 0 or (name, code) == ("doctor", 1)                 # doctor says so if something is missing
        if ended and (not at_work or name in ("budget", "doctor")):        # done before, or just then
            longest /= 3
            continue
        assert code == 130, (n, code, told[-1500:])
        assert "Traceback" not in told, told[-3000:]
        lines = told.replace("\r", "\n").splitlines()             # a bar may be drawn once more after it
        assert any(line == "interrupted" or line.startswith("interrupted: ") for line in lines), told[-500:]
        ends += 1
        if ends == TIMES:
            return
    pytest.fail(f"{name} was always done before Ctrl-C came")


@pytest.mark.parametrize("name", ["lab", "lab --app"])
def test_ctrl_c_ends_a_server_that_runs(tmp_path, name):
    args = [*name.split(), *long_ones(tmp_path, tmp_path)[name]]

    code, told, _ = interrupted(args, .5, tmp_path/"log", "is running at")

    assert code == 130 and told.splitlines()[-1] == "interrupted", (code, told[-1500:])


def test_every_command_is_tried():
    tried = {name.split()[0] for name in COMMANDS}
    assert tried == set(main.commands) - {"fetch"}           # it has nothing to do where the text encoder is there
    for group in ("bench", "ledger"):
        assert {f"{group} {name}" for name in main.commands[group].commands} <= set(COMMANDS)


RUNS_THAT_LAST = """
import pathlib, signal, sys, time
from rs_zeroseg.evidence.sweep import Setting, sweep
def make(setting):
    pathlib.Path(sys.argv[1], f"{setting.seed}").touch()
    if sys.argv[3] == "error" and setting.seed == 1:
        raise ValueError("a run fails")
    time.sleep(200)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)      # a shell's background job begins without it
    sweep([Setting(seed=seed) for seed in range(6)], pathlib.Path(sys.argv[1], "ledger.jsonl"), int(sys.argv[2]), make)
"""


@pytest.mark.parametrize("jobs, kill", [(1, os.kill), (2, os.killpg)], ids=["one", "two, as a terminal does"])
def test_ctrl_c_ends_a_sweep_in_the_middle_of_its_runs(tmp_path, jobs, kill):
    (tmp_path/"runs.py").write_text(RUNS_THAT_LAST)
    command = [sys.executable, tmp_path/"runs.py", tmp_path, str(jobs), "no error"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while len(list(tmp_path.glob("[0-9]"))) < jobs:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(.1)
        others = psutil.Process(process.pid).children(recursive=True)
        kill(process.pid, signal.SIGINT)

        assert process.wait(30) in (-signal.SIGINT, 1)             # 1 in a background job
        _, left = psutil.wait_procs(others, 10)
        assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_run_that_fails_ends_those_beside_it(tmp_path):
    (tmp_path/"runs.py").write_text(RUNS_THAT_LAST)
    command = [sys.executable, tmp_path/"runs.py", tmp_path, "2", "error"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1 and "failed (ValueError('a run fails')); 0 new runs" in done.stderr

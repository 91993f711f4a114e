"The ledger of runs: nothing is lost between two programs, and what is wrong with the file is told by its name."
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from rs_zeroseg.evidence.experiments import Setting, recipe
from rs_zeroseg.evidence.ledger import LEDGER, add_runs, is_stale, read_ledger
from rs_zeroseg.evidence.paper import DATASET_COLUMNS
from rs_zeroseg.evidence.tables import ours

ADD = """
import sys
from pathlib import Path
from rs_zeroseg.evidence.ledger import add_runs
print("ready", flush=True)
input()
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    add_runs([{"setting": {"seed": seed}, "metrics": {}}], Path(sys.argv[1]))
"""


def run_of(seed):
    return {"setting": {"seed": seed}, "metrics": {}}


def seeds(path):
    return [r["setting"]["seed"] for r in read_ledger(path)]


def test_two_programs_of_200_runs_leave_400(tmp_path):
    ledger = tmp_path/"runs"/"ledger.jsonl"
    halves = [("0", "200"), ("200", "400")]

    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    programs = [subprocess.Popen([sys.executable, "-c", ADD, str(ledger), *half], **pipes) for half in halves]
    for program in programs:
        program.stdout.readline()                 # imported: from here on they add at the same time
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    codes = [program.wait() for program in programs]
    for program in programs:
        program.communicate()

    assert codes == [0, 0]
    assert sorted(seeds(ledger)) == list(range(400))
    assert [seed for seed in seeds(ledger) if seed < 200] == list(range(200)), "each program's runs in their order"
    assert [p.name for p in ledger.parent.iterdir()] == ["ledger.jsonl"]


def test_a_run_is_on_the_disk_before_add_runs_returns(tmp_path, monkeypatch):
    "The bytes before the name, and the name of a new file after it."
    synced, sync = [], os.fsync

    def noted(file):
        synced.append(os.path.isdir(f"/proc/self/fd/{file}"))
        sync(file)
    monkeypatch.setattr(os, "fsync", noted)

    add_runs([run_of(0)], tmp_path/"runs"/"ledger.jsonl")

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no list of open files here")
    assert synced == [False, True, True]


def test_a_last_line_without_end_is_told_and_not_glued_to(tmp_path):
    ledger = tmp_path/"ledger.jsonl"
    ledger.write_text(json.dumps(run_of(0)))

    with pytest.warns(UserWarning, match=r"ledger\.jsonl: its last line had no end"):
        add_runs([run_of(1)], ledger)

    assert seeds(ledger) == [0, 1]


def test_a_last_line_that_was_cut_short_is_kept_and_told(tmp_path):
    ledger = tmp_path/"ledger.jsonl"
    ledger.write_text(json.dumps(run_of(0)) + "\n" + json.dumps(run_of(1))[:9])

    with pytest.warns(UserWarning, match="its last line had no end"):
        add_runs([run_of(2)], ledger)

    with pytest.raises(ValueError, match=r"ledger\.jsonl, line 2: not a run .*; remove that line"):
        read_ledger(ledger)
    assert json.loads(ledger.read_text().splitlines()[2]) == run_of(2), "the new run is whole"


@pytest.mark.parametrize("line", [b'{"setting": {"seed": 1}, "metrics": \xff}', b"\x00", b"[]", b"3", b"null",
                                  b'{"setting": {"seed": {}}, "metrics": {}}', b'{"setting": {}, "metrics": 3}'])
def test_a_bad_byte_and_a_line_that_is_no_run_are_told(tmp_path, run, line):
    ledger = tmp_path/"ledger.jsonl"
    ledger.write_bytes(json.dumps(run_of(0)).encode() + b"\n" + line + b"\n")

    done = run("sweep", "table6", "--ledger", ledger)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {ledger}, line 2: not a run (") and done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_told_and_leaves_the_ledger(tmp_path):
    ledger = tmp_path/"ledger.jsonl"
    add_runs([run_of(0)], ledger)
    before = ledger.read_bytes()
    limit = ("import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
             f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 9},)*2)\n")

    done = subprocess.run([sys.executable, "-c", limit + ADD, str(ledger), "1", "2"], input="go\n", capture_output=True,
                          text=True)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"{ledger}: could not be written (File too large); make room, or choose another folder")
    assert ledger.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_a_run_that_stands_twice_counts_once():
    scores = [{column: {"mIoU": 20. + seed} for column in DATASET_COLUMNS} for seed in range(3)]
    records = [run_of(seed) | {"metrics": metrics, "recipe": recipe(Setting())} for seed, metrics in enumerate(scores)]

    assert ours("table6", records)["n"].eq(3).all()
    pd.testing.assert_frame_equal(ours("table6", records + records), ours("table6", records))


def test_a_run_of_another_recipe_replaces_none():
    "It has the setting of a run of today, and stands after it."
    good = run_of(0) | {"metrics": {column: {"mIoU": 20.} for column in DATASET_COLUMNS}, "recipe": recipe(Setting())}
    old = good | {"metrics": {column: {"mIoU": 90.} for column in DATASET_COLUMNS}, "recipe": "0"*12}

    pd.testing.assert_frame_equal(ours("table6", [good, old]), ours("table6", [good]))


def test_a_run_from_before_eq_9_read_the_vlm_is_refused(tmp_path):
    ledger = tmp_path/"ledger.jsonl"
    ledger.write_text(json.dumps({"setting": {"seed": 0, "similarity": True}, "metrics": {}}) + "\n")

    with pytest.raises(ValueError, match="line 1: not a run .*similarity.*remove that line"):
        read_ledger(ledger)
    assert not any(map(is_stale, read_ledger(LEDGER))), "the package's runs are of today's encoders, scenes and plan"

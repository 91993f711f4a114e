"A folder that is replaced is there at every moment: the program is killed at every line of the replacing."
import ctypes
import json
import os
import sys
from pathlib import Path

import pytest

from rs_zeroseg.data import files
from rs_zeroseg.data.files import remove_leftovers, whole_folder
from rs_zeroseg.model import checkpoint
from rs_zeroseg.model.checkpoint import load, save

SOURCES = files.__file__, checkpoint.__file__


def killed_at(line, write):
    "True if `write` was killed when it came to its line number `line` in the sources; False if it ended before."
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    left = line

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename not in SOURCES:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os._exit(137)
        return trace

    sys.settrace(trace)
    try:
        write()
    finally:
        os._exit(0)


def write_version(folder, version):
    with whole_folder(folder) as part:
        (part/"first").write_text(version)
        (part/"second").write_text(version)


def read_version(folder):
    first, second = (folder/name for name in ("first", "second"))
    assert first.read_text() == second.read_text()
    return first.read_text()


def test_a_kill_at_any_line_leaves_the_old_folder_or_the_new_one(tmp_path):
    folder = tmp_path/"run"
    write_version(folder, "old")
    if not files._exchange(folder, folder):
        pytest.skip("this system or disk cannot exchange two folders")

    seen, line = [], 1
    while killed_at(line, lambda: write_version(folder, "new")):
        seen.append(read_version(folder))
        line += 1

    assert line > 10 and set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)


def test_without_exchange_the_old_folder_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())   # a system without `renameat2`
    folder = tmp_path/"run"
    write_version(folder, "old")

    seen, gone, line = [], 0, 1
    while killed_at(line, lambda: write_version(folder, "new")):
        gone += not folder.exists()
        remove_leftovers(folder)
        seen.append(read_version(folder))
        line += 1

    assert gone and set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)
    assert os.listdir(tmp_path) == ["run"]


def test_a_model_is_there_at_every_moment_while_it_is_saved_again(tmp_path):
    model, folder = load("pocket-zero-shot"), tmp_path/"model"
    save(model, folder)
    if not files._exchange(folder, folder):
        pytest.skip("this system or disk cannot exchange two folders")
    weights = (folder/"model.safetensors").read_bytes()
    model.threshold = .25

    thresholds, line = [], 1
    while killed_at(line, lambda: save(model, folder)):
        assert (folder/"model.safetensors").read_bytes() == weights
        thresholds.append(json.loads(Path(folder/"config.json").read_text())["threshold"])
        line += 1

    assert len(set(thresholds)) == 2 and thresholds[-1] == .25

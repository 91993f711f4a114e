"""Lessons: the participants' notebooks are made from the solved ones, and the checks explain what is wrong."""
import importlib.util
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT/"nbs"/"workshop").glob("*.ipynb"))
spec = importlib.util.spec_from_file_location("workshop", ROOT/"tools"/"workshop.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def read(path):
    "A notebook as a dictionary."
    return json.loads(path.read_text(encoding="utf-8"))


def cells(notebook):
    "The sources of its code cells."
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_the_participants_notebook_is_made_from_the_lesson(path):
    lesson, kept = read(path), read(path.parent/"_participant"/path.name)

    made = tool.participant(lesson)

    assert kept == made, "run `make workshop`"
    assert "SOLUTION" not in "\n".join(cells(made))
    assert sum("YOUR CODE" in c for c in cells(made)) == sum("BEGIN SOLUTION" in c for c in cells(lesson))


@pytest.fixture(scope="module")
def checks():
    "The checks of lesson 1, ready to be given answers."
    names = dict(torch=torch, F=F)
    for source in cells(read(LESSONS[0])):
        if "def check" in source:
            lines = source[source.index("def check"):].splitlines()
            exec("\n".join(line for line in lines if not line.startswith(("check_", "show_"))), names)
    return names


RESIZED_LABELS = ("lambda s, size, t: F.interpolate("
                  "torch.where(s.max(0).values >= t, s.argmax(0), -1)[None, None].float(), size)[0, 0].long()")
WRONG = [   # check, a student's answer, what the check says to it
    ("check_1", "lambda a, b: ...", "returns nothing"),
    ("check_1", "lambda a, b: a @ b", "product alone"),
    ("check_1", "lambda a, b: a @ b/a.norm()", "one length"),
    ("check_1", "lambda a, b: a @ b/25", "must not change"),
    ("check_2", "lambda t, v: ...", "returns nothing"),
    ("check_2", "lambda t, v: torch.einsum('dhw,kd->hwk', t, v)", "words come first"),
    ("check_2", "lambda t, v: torch.einsum('dhw,kd->khw', t, v)", "normalise"),
    ("check_2", "lambda t, v: t", "shape should be"),
    ("check_3", "lambda s, size, t: ...", "returns nothing"),
    ("check_3", "lambda s, size, t: s.argmax(0)", "size that was asked"),
    ("check_3", "lambda s, size, t: F.interpolate(s[None], size, mode='bilinear')[0].argmax(0)", "nothing is none"),
    ("check_3", RESIZED_LABELS, "before resizing"),
    ("check_4", "lambda a, b: ...", "returns nothing"),
    ("check_4", "lambda a, b: (a & b).sum()/a.sum()", "divide by the union"),
    ("check_4", "lambda a, b: (a & b).float().mean()", "neither said nor true"),
]


@pytest.mark.parametrize("check, answer, told", WRONG, ids=lambda x: x[:40])
def test_a_wrong_answer_is_explained(checks, check, answer, told):
    wrong = eval(answer, checks)

    with pytest.raises(AssertionError, match=told):
        checks[check](wrong)

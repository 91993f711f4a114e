"""Every notebook ends with what was learned in three lines, and with three graded exercises; their answers run."""
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["1_data", "2_model", "3_training", "4_baselines", "5_evidence", "6_use"]
NOTEBOOKS = sorted(path for part in PARTS for path in (ROOT / "nbs" / part).glob("[0-9][0-9]_*.ipynb"))
GRADES = ["easy", "medium", "hard"]
EXERCISE = re.compile(r"^\*\*(\d)\.\*\* \((\w+)\) .+<details><summary>Answer</summary>\n\n.+\n</details>$", re.S)
SKIPPED = {"notest", "slow", "gpu", "data"}      # no test command runs a cell with one of these flags


def is_answer(cell) -> bool:
    "Is it a cell of code that is folded, and that every test run executes?"
    flags = {line[2:].strip() for line in cell.source.splitlines() if line.startswith("#|")}
    folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    return cell.cell_type == "code" and folded and not flags & SKIPPED


def after(cells, title):
    "The cells from the heading `title` on."
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith(title)]
    assert len(starts) == 1, f"{len(starts)} cells begin with {title!r}"
    return cells[starts[0]:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_notebook_ends_with_what_was_learned_and_three_answered_exercises(path):
    cells = nbformat.read(path, as_version=4).cells
    learned = after(cells, "## What was learned")[0].source
    assert len(re.findall("^- ", learned, re.M)) == 3, learned
    exercises = after(cells, "## Exercises")
    asked = [i for i, cell in enumerate(exercises) if cell.cell_type == "markdown" and cell.source.startswith("**")]
    found = [EXERCISE.match(exercises[i].source) for i in asked]
    assert all(found), [exercises[i].source for i, match in zip(asked, found) if not match]
    assert [match[1] for match in found] == ["1", "2", "3"]
    assert [match[2] for match in found] == GRADES
    for start, end in zip(asked, asked[1:] + [len(exercises)]):
        answers = exercises[start + 1:end]
        assert answers and all(map(is_answer, answers)), exercises[start].source
        assert "assert" in answers[-1].source or "test_" in answers[-1].source, answers[-1].source

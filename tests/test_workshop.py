"""Lessons: everything is made from the solved notebooks, and each check explains what is wrong."""
import contextlib
import io
import json
import re
import textwrap
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from modules import module_at

from rs_zeroseg.use.lessons import TASKS

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT/"nbs"/"workshop").glob("*.ipynb"))
tool = module_at(ROOT/"tools"/"workshop.py")
by_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)


def read(path):
    "A notebook as a dictionary."
    return json.loads(path.read_text(encoding="utf-8"))


def sources(notebook, kind="code"):
    "The sources of its cells of one kind."
    return [tool.source_of(c) for c in notebook["cells"] if c["cell_type"] == kind]


# ---- what is made of a lesson

@by_lesson
def test_the_participants_notebook_is_made_from_the_lesson(path):
    lesson, kept = read(path), read(path.parent/"_participant"/path.name)

    made = tool.participant(lesson, tuple(p.name for p in path.parent.glob("*.ipynb") if p != path))

    assert kept == made, "run `make workshop`"
    everything = "\n".join(sources(made) + sources(made, "markdown"))
    assert not re.search("SOLUTION|MISTAKES|<!-- instructor", everything)
    assert everything.count("# YOUR CODE") >= sum("BEGIN SOLUTION" in c for c in sources(lesson))
    assert not any(c.get("outputs") for c in made["cells"])
    linked = re.findall(r"\]\(([^)#]+\.ipynb)\)", "\n".join(sources(made, "markdown")))
    assert linked and all((path.parent/"_participant"/link).is_file() for link in linked)
    solutions = {link for link in linked if Path(link).parent.name == ".." and "workshop" not in link}
    assert solutions == {f"../{path.name}"}, "the others' lessons are those without solutions"


@by_lesson
def test_instructor_slides_and_handout_hold_what_they_should(path):
    lesson = read(path)
    count = len(sources(lesson))

    notebook, slides, page = tool.instructor(lesson), tool.slides(lesson), tool.handout(lesson)

    told = "\n".join(sources(notebook, "markdown"))
    assert "| minute |" in told and told.count("**Common mistakes**") == sum("@task(" in c for c in sources(lesson))
    assert len(sources(notebook)) == count - told.count("**Common mistakes**")
    kinds = [c["metadata"]["slideshow"]["slide_type"] for c in slides["cells"]]
    assert kinds[0] == "slide" and set(kinds) == {"slide", "subslide", "notes", "-"}
    assert "BEGIN SOLUTION" not in json.dumps(slides) and "BEGIN SOLUTION" not in json.dumps(page)
    assert "image/png" in json.dumps(page)
    for made in (notebook, slides, page):
        nbformat.validate(nbformat.reads(json.dumps(made), 4))


def test_pages_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "OUT", tmp_path)

    tool.write_pages(read(LESSONS[0]), "one")

    assert "reveal" in (tmp_path/"slides"/"one.slides.html").read_text(encoding="utf-8")
    assert "YOUR CODE" in (tmp_path/"handouts"/"one.html").read_text(encoding="utf-8")


@by_lesson
def test_a_lesson_has_all_its_parts(path):
    lesson = read(path)
    text, tasks = "\n".join(sources(lesson, "markdown")), [c for c in sources(lesson) if "@task(" in c]

    for heading in ("## What you will be able to do", "## Five minutes of recap", "## Explorer mission", "## Stretch",
                    "## For discussion", "## What we learned"):
        assert heading in text, f"{heading!r} is missing"
    assert re.search(r"^# \S.*\n> \S", text), "a lesson opens with an H1 and a > subtitle"
    assert 3 <= len(tasks) <= 5
    assert any("#| notest" in c and "AttentionExplorer(" in c for c in sources(lesson))
    discussion = text.split("## For discussion")[1].split("\n## ")[0]
    assert len(re.findall(r"^\d\. ", discussion, re.M)) == 3
    assert any(c.startswith(tool.WITH_SOLUTIONS) and "open_tasks() == []" in c for c in sources(lesson))
    assert max(len(c.splitlines()) for c in sources(lesson)) <= 40


# ---- the checks

def exercises(path):
    "Number -> exercise, check and typical mistakes of a lesson."
    cells, found = sources(read(path)), {}
    for i, cell in enumerate(cells):
        if "BEGIN SOLUTION" in cell:
            check, mistakes = cells[i + 1:i + 3]
            number = int(re.search(r"^@task\((\d)\)$", check, re.M)[1])
            found[number] = cell, check, tool.mistakes_of(mistakes)
    return found


def answered(exercise, answer):
    "An exercise with another answer in place of its solution."
    def put(block):
        return textwrap.indent(textwrap.dedent(answer), block[1])
    return tool.SOLUTION.sub(put, exercise)


def of_wrong_type(exercise):
    "An exercise whose answer is of a type that nobody expects."
    indent, solution = tool.SOLUTION.search(exercise).groups()
    names = re.findall(r"^(\w+) = ", solution, re.M)
    return answered(exercise, "return object()" if indent else "\n".join(f"{name} = object()" for name in names))


@cache
def names_of(path):
    "What the cells of a lesson that only import give to its checks."
    names = {"__name__": path.stem}
    for cell in sources(read(path)):
        if cell.startswith(("import ", "from ")):
            exec(cell, names)
    return names


def told(path, exercise, check):
    "What the learner reads below the check."
    names, printed = dict(names_of(path)), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(exercise, "<exercise>", "exec"), names)
        exec(compile(check, "<check>", "exec"), names)
    return printed.getvalue()


EVERY = [(path, number) for path in LESSONS for number in exercises(path)]
by_task = pytest.mark.parametrize("path, number", EVERY, ids=lambda x: x.stem if isinstance(x, Path) else f"task{x}")


def assert_refused(said, number):
    "Two lines, what and where."
    lines = said.strip().splitlines()
    assert len(lines) == 2, said
    assert lines[0].startswith(f"Task {number}, not yet: ") and lines[1].startswith("Where to look: ")
    assert all(len(line) < 240 for line in lines)


@by_task
def test_the_solution_passes_and_wrong_answers_do_not(path, number):
    exercise, check, mistakes = exercises(path)[number]

    assert told(path, exercise, check) == f"Task {number}: right. Go on!\n"
    assert_refused(told(path, tool.without_solution(exercise), check), number)
    assert_refused(told(path, of_wrong_type(exercise), check), number)
    assert len(mistakes) >= 2
    for answer, expected in mistakes.items():
        said = told(path, answered(exercise, answer), check)
        assert_refused(said, number)
        assert expected in said, answer


@by_task
def test_an_empty_exercise_is_called_empty(path, number):
    exercise, check, _ = exercises(path)[number]

    assert "still empty" in told(path, tool.without_solution(exercise), check)


# ---- a participant who runs all cells

@by_lesson
def test_run_all_goes_to_the_end_though_every_exercise_is_empty(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    names, printed = dict(names_of(path)), io.StringIO()
    TASKS.clear()                                            # a lesson has a kernel of its own
    with contextlib.redirect_stdout(printed):
        for cell in sources(read(path.parent/"_participant"/path.name)):
            if "#| notest" not in cell:
                exec(compile(cell, "<cell>", "exec"), names)
    plt.close("all")

    assert all(f"Task {number}, not yet: " in printed.getvalue() for number in exercises(path))
    assert names["open_tasks"]() == sorted(exercises(path))

"""Make everything that a course needs from the lessons in nbs/workshop, which are written once, with solutions.

    nbs/workshop/_participant/NAME.ipynb     without solutions and outputs
    out/workshop/instructor/NAME.ipynb       with solutions, outputs, timing and common mistakes
    out/workshop/slides/NAME.slides.html     reveal.js; the running text is in the speaker's notes (key s)
    out/workshop/handouts/NAME.html          what participants read, with figures, without solutions

What the marks in a lesson mean:

    # BEGIN SOLUTION ... # END SOLUTION      participants get three dots instead
    # MISTAKES                               first line of a cell: {wrong answer: what the check says to it}
    # WITH SOLUTIONS                         first line of a cell that runs only where the solutions are
    <!-- instructor -->                      first line of a text for the instructor

The slides fetch reveal.js and require.js when they are opened. For a room without network put both (`npm pack
reveal.js@4.0.2 requirejs@2.1.10`) into out/workshop/slides/lib as reveal.js/ and require.js, and make them again.
Formulas need MathJax from the network, here and in the hand-outs.
"""
import ast
import copy
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LESSONS, OUT = ROOT/"nbs"/"workshop", ROOT/"out"/"workshop"
LIBRARY = "lib"                                                # beside the slides, for a room without network
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n(.*?)^ *# END SOLUTION$", re.M | re.S)
MISTAKES, WITH_SOLUTIONS, INSTRUCTOR = "# MISTAKES\n", "# WITH SOLUTIONS\n", "<!-- instructor -->\n"
STYLE = """

<style>
.reveal section {font-size: 85%}
.reveal section img {max-height: 560px}
.reveal pre {white-space: pre-wrap}
</style>"""
ON_SLIDES = ("#", "- ", "* ", "1. ", "> ", "$$", "| ")      # how a block of text begins that is shown on a slide


def source_of(cell:dict) -> str:
    "The text of a cell."
    return "".join(cell["source"])


def with_source(cell:dict, text:str) -> dict:
    "The same cell with another text."
    return cell | {"source": text.splitlines(keepends=True)}


def text_cell(text:str, like:dict) -> dict:
    "A cell of text in the place of another cell."
    return {"cell_type": "markdown", "id": like["id"], "metadata": {}, "source": text.splitlines(keepends=True)}


def without_solution(text:str) -> str:
    "An exercise as participants get it: three dots for the body of a function, and for each name that is assigned."
    def dots(found:re.Match) -> str:
        names = re.findall(r"^(\w+) = ", found[2], re.M)
        if found[1] or not names:
            return f"{found[1]}...      # YOUR CODE"
        return "\n".join(f"{name} = ...      # YOUR CODE" for name in dict.fromkeys(names))
    return SOLUTION.sub(dots, text)


def moved(cell:dict, folder:str, beside:tuple=()) -> dict:
    "A cell whose relative links lead where they led before: `folder` leads back to them, but those `beside` stay."
    if cell["cell_type"] != "markdown":
        return cell
    kept = "|".join(["https?:", "#", "data:", "attachment:", *map(re.escape, beside)])
    return with_source(cell, re.sub(rf"\]\((?!{kept})", f"]({folder}", source_of(cell)))


def made_of(lesson:dict, cells:list[dict]) -> dict:
    "A notebook with other cells."
    return copy.deepcopy({**lesson, "cells": cells})


def for_participants(lesson:dict, hidden:tuple=(MISTAKES, WITH_SOLUTIONS, INSTRUCTOR)) -> list[dict]:
    "The cells that participants get, with outputs and without solutions; not those that begin with a hidden mark."
    return [with_source(cell, without_solution(source_of(cell)))
            for cell in lesson["cells"] if not source_of(cell).startswith(hidden)]


def is_check(cell:dict) -> bool:
    "Is it the cell that checks an exercise?"
    return "@task(" in source_of(cell)


def participant(lesson:dict, others:tuple=()) -> dict:
    "A lesson's notebook without solutions and outputs, one folder deeper, beside the others'; the checks are folded."
    cells = []
    for cell in for_participants(lesson):
        cell = moved(cell, "../", others)
        if cell["cell_type"] == "code":
            cell = cell | dict(outputs=[], execution_count=None)
        cells.append(cell | {"metadata": {"jupyter": {"source_hidden": True}}} if is_check(cell) else cell)
    return made_of(lesson, cells)


def handout(lesson:dict) -> dict:
    "What participants read: with the figures, without the checks."
    cells = [moved(cell, "../../../nbs/workshop/") for cell in for_participants(lesson)]
    return made_of(lesson, [cell for cell in cells if not is_check(cell)])


def mistakes_of(text:str) -> dict[str, str]:   # of a cell that begins with MISTAKES -> code: what is said to it
    "The typical wrong answers to an exercise."
    return ast.literal_eval(text[text.index("{"):])


def table_of_mistakes(text:str) -> str:
    "The same as a table for the instructor."
    rows = [f"<tr><td><pre>{code}</pre></td><td>... {told} ...</td></tr>" for code, told in mistakes_of(text).items()]
    return "**Common mistakes**\n\n<table><tr><th>instead</th><th>the check says</th></tr>" + "".join(rows) + "</table>"


def instructor(lesson:dict) -> dict:
    "A lesson with solutions, outputs, timing, and the common mistakes as tables."
    cells = []
    for cell in lesson["cells"]:
        text = source_of(cell)
        cell = text_cell(table_of_mistakes(text), cell) if text.startswith(MISTAKES) else cell
        cells.append(moved(cell, "../../../nbs/workshop/"))
    return made_of(lesson, cells)


def slide(cell:dict, kind:str, **more) -> dict:
    "A cell with its place among the slides."
    return cell | {"metadata": {"slideshow": {"slide_type": kind}, **more}}


def groups_of(text:str) -> list[list[str]]:
    "The blocks of a text, in groups that begin with a heading (the first one need not)."
    groups = [[]]
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.startswith("#"):
            groups.append([])
        groups[-1].append(block)
    return [group for group in groups if group]


def slides_of_text(cell:dict) -> list[dict]:
    "A slide for each heading: its first paragraph, lists, formulas, quotations; the rest in the speaker's notes."
    if source_of(cell).startswith(INSTRUCTOR):
        return [slide(cell, "notes")]
    made = []
    for group in groups_of(source_of(cell)):
        headed = group[0].startswith("#")
        shown = [block for i, block in enumerate(group) if block.startswith(ON_SLIDES) or headed and i == 1]
        spoken = [block for block in group if block not in shown and not block.startswith("<details")]
        if shown:
            made.append(slide(text_cell("\n\n".join(shown), cell), "slide" if headed else "subslide"))
        if spoken:
            made.append(slide(text_cell("\n\n".join(spoken), cell), "notes"))
    return made


def slides_of_code(cell:dict) -> list[dict]:
    "An exercise as it is given, or the pictures and tables of a cell without its code; nothing of other cells."
    text = source_of(cell)
    if "YOUR CODE" in text:
        return [slide(cell | {"outputs": []}, "-")]              # below its heading
    shown = [output for output in cell["outputs"] if {"image/png", "text/html"} & set(output.get("data", ()))]
    return [slide(cell | {"outputs": shown}, "subslide", tags=["hide_input"])] if shown else []


def slides(lesson:dict) -> dict:
    "The lesson as slides."
    cells = []
    for cell in for_participants(lesson, (MISTAKES, WITH_SOLUTIONS)):
        cells += slides_of_text(cell) if cell["cell_type"] == "markdown" else slides_of_code(cell)
    cells[0] = with_source(cells[0], source_of(cells[0]) + STYLE)
    for number, cell in enumerate(cells):
        cell["id"] = f"slide-{number}"
    return made_of(lesson, cells)


def write(notebook:dict, path:Path) -> None:
    "A notebook as nbdev writes it."
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def write_pages(lesson:dict, name:str) -> None:
    "Slides and hand-out of a lesson."
    from nbconvert import HTMLExporter, SlidesExporter
    from nbformat import reads
    from traitlets.config import Config
    settings = Config()
    settings.TagRemovePreprocessor.remove_input_tags = {"hide_input"}
    settings.SlidesExporter.reveal_scroll = True
    if (OUT/"slides"/LIBRARY/"reveal.js").is_dir():
        settings.SlidesExporter.reveal_url_prefix = f"{LIBRARY}/reveal.js"
        settings.SlidesExporter.require_js_url = f"{LIBRARY}/require.js"
    pages = {OUT/"slides"/f"{name}.slides.html": (SlidesExporter(config=settings), slides(lesson)),
             OUT/"handouts"/f"{name}.html": (HTMLExporter(), handout(lesson))}
    for path, (exporter, notebook) in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(exporter.from_notebook_node(reads(json.dumps(notebook), 4))[0], encoding="utf-8")


def main() -> None:
    "Make everything of every lesson."
    paths = sorted(LESSONS.glob("*.ipynb"))
    for path in paths:
        lesson, others = json.loads(path.read_text(encoding="utf-8")), tuple(p.name for p in paths if p != path)
        write(participant(lesson, others), LESSONS/"_participant"/path.name)
        write(instructor(lesson), OUT/"instructor"/path.name)
        write_pages(lesson, path.stem)
        print(path.stem)


if __name__ == "__main__":
    main()

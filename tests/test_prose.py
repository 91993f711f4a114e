"""Numbers in prose come from code: a number that looks like a result is in an output or in the code of its notebook.

What looks like a result: a number with decimals; a number with a unit of results (percent, points, seconds, MB,
million, times, ...); in a paragraph about a score (mIoU, AP, ...) any number from 13 on. It may be typed if it

- is a number, as rounded as it is typed, of a stored output of the same notebook (a share counts as a percentage, too);
- is written in a code cell of the same notebook: a setting, or what an assert compares with;
- quotes the paper: the paragraph is a blockquote, or names a table, a figure, a section or an equation by its number;
- is worked by hand in the text ("by hand", or after an equals sign), where the next cell proves it;
- is a definition: below 13 without decimals, a power of two, a year, metres on the ground, a version or a licence, the
  level of an interval, or a percentage that means nothing, half or all.

Formulas, code, links and timetables are not prose. The README is made from `nbs/index.ipynb`, which stands for it.
"""
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {path.relative_to(ROOT / "nbs").with_suffix("").as_posix(): path
             for path in sorted((ROOT / "nbs").rglob("*.ipynb"))
             if not {"_participant", ".ipynb_checkpoints"} & set(path.parts)}

NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|``.*?``|`[^`]*`|\]\([^)]*\)|https?://\S+|<[^>]*>", re.S)
NUMBER = re.compile(r"(?<![\w.,/^_\-])(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?![\w/^])")
IN_CODE = re.compile(r"(?:\d[\d_,]*)?\.?\d+(?:e[-+]?\d+)?")
PERCENT = r"\s?(?:%|percent\b|points?\b)"
RESULT = re.compile(rf"{PERCENT}|\s?(?:ms|s|seconds?|min|minutes?|h|hours?|[KMG]B|[MG]iB|[kMG]|[mb]illion|times)\b")
SCORE = re.compile(r"\b(?:m?IoU|AP|AUROC|average precision|accuracy)\b")
PAPER = re.compile(r"\b(?:Tables?|Figures?|Sections?|Eqs?\.|Equations?) \d")
# versions, the plan of a lesson, and what is worked out on the spot
NAMED = re.compile(r"(?:Python|Apache|CC BY|Voila|JupyterLab|[Tt]orch(?: before)?|version|[Rr]elease|Timing:| =) ?$")
METRES = re.compile(r"(?: to [\d.]+)? ?m\b")
LEVELS = {0, .05, .5, 1.96, 50, 95, 97.5, 100}
SMALL = 13


def spoken(markdown) -> list[str]:
    "The paragraphs of a cell, without what is not prose; blockquotes and timetables are left out."
    text = NOT_PROSE.sub(" ", markdown)
    return [part for part in re.split(r"\n\s*\n", text) if not part.lstrip().startswith((">", "| minute"))]


def numbers_in(text) -> set[float]:
    "Every number of a code cell or of an output."
    return {float(found[0].replace(",", "").replace("_", "")) for found in IN_CODE.finditer(text)
            if re.fullmatch(r"[\d_,]*\.?\d+(?:e[-+]?\d+)?", found[0])}


def outputs_of(cell) -> str:
    "What a cell printed and showed, as text."
    shown = [part.get("text", "") for part in cell.outputs]
    return "\n".join(shown + [part.data.get(kind, "") for part in cell.outputs if "data" in part
                              for kind in ("text/plain", "text/markdown")])


def is_definition(typed, value, before, after) -> bool:
    "Is a number no result, whatever the notebook says?"
    whole = "." not in typed
    power = whole and value > 0 and int(value) & int(value) - 1 == 0
    year = whole and 1900 < value < 2100 and "," not in typed
    return (whole and value < SMALL or power or year or value in LEVELS or bool(METRES.match(after))
            or bool(NAMED.search(before)))


def is_shown(typed, value, as_percent, outputs, code) -> bool:
    "Is a number in the outputs, rounded as it is typed, or in the code?"
    decimals = len(typed.partition(".")[2])
    factors = (1, 100) if as_percent else (1,)
    return any(abs(factor*one - value) <= .5001*10**-decimals for factor in factors for one in outputs) or any(
        abs(factor*one - value) < 1e-9 for factor in factors for one in code)


def typed_results(cells) -> list[str]:
    "The numbers in the prose of some cells that look like results and come from nowhere."
    executed = [cell for cell in cells if cell.cell_type == "code"]
    outputs, code = numbers_in("\n".join(map(outputs_of, executed))), numbers_in("\n".join(c.source for c in executed))
    found = []
    for text in (text for cell in cells if cell.cell_type == "markdown" for text in spoken(cell.source)):
        if PAPER.search(text) or "by hand" in text.lower():
            continue
        for match in NUMBER.finditer(text):
            typed, before, after = match[0], text[:match.start()], text[match.end():]
            result = "." in typed or RESULT.match(after) or SCORE.search(text)
            if not typed or not result:
                continue
            value, percent = float(typed.replace(",", "")), bool(re.match(PERCENT, after))
            if not is_definition(typed, value, before, after) and not is_shown(typed, value, percent, outputs, code):
                found.append(typed)
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_result_is_typed(name):
    typed = typed_results(nbformat.read(NOTEBOOKS[name], as_version=4).cells)
    assert not typed, f"{typed}: show them by a cell, assert them, or strike them out"


SHOWN = nbformat.v4.new_code_cell("seeds = 17\nassert gain > 3.5", outputs=[nbformat.v4.new_output(
    "execute_result", {"text/plain": "mIoU 41.963, 0.386 of 1,200 pixels"})])
TYPED = {
    "It reaches 37.2.": ["37.2"],
    "It takes 240 ms, or 1.5 s.": ["240", "1.5"],
    "It is 20 times as long.": ["20"],
    "The mIoU is 43, and chance is 14.": ["43", "14"],
    "- first\n- The AP fell from 98 to 27": ["98", "27"],
    "It reaches 42.0, in short 42%; that is 38.6% or 39%.": [],     # as rounded as they are typed
    "With 17 seeds the mIoU rises by more than 3.5 points.": [],
    "Table 1 has 31.69, and Eq. 12 has 0.25.": [],
    "> They report 31.69.": [],
    "By hand: 0.16 + 0.64 = 0.8.": [],
    "The mIoU of 512 tokens in 2025, 12 words, a pixel of 0.3 m and a 95% interval; Python 3.11.": [],
    "Set `lam=0.77`, see [this](http://a.b/1.25), $x = 0.123$.": [],
    "It saw 399 scenes of 192 px.": [],                             # counts and sizes are no results
}


@pytest.mark.parametrize("text", TYPED)
def test_what_is_found(text):
    assert typed_results([nbformat.v4.new_markdown_cell(text), SHOWN]) == TYPED[text]

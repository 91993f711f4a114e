"""The lessons with solutions in nbs/workshop -> the participants' notebooks in nbs/workshop/_participant (`make workshop`)."""
import json
import re
from pathlib import Path

LESSONS = Path(__file__).resolve().parents[1] / "nbs" / "workshop"
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$", re.M | re.S)


def participant(lesson:dict) -> dict:
    "A lesson's notebook without its solutions and without outputs."
    made = json.loads(json.dumps(lesson))
    for cell in made["cells"]:
        if cell["cell_type"] != "code": continue
        source = SOLUTION.sub(r"\1...      # YOUR CODE", "".join(cell["source"]))
        cell.update(source=source.splitlines(keepends=True), outputs=[], execution_count=None)
    return made


def write(text:dict, path:Path) -> None:
    "A notebook as nbdev writes it."
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(text, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for lesson in sorted(LESSONS.glob("*.ipynb")):
        path = LESSONS / "_participant" / lesson.name
        write(participant(json.loads(lesson.read_text(encoding="utf-8"))), path); print(path)

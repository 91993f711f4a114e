"""Make the participants' notebooks in nbs/workshop/_participant from the lessons with solutions (`make workshop`)."""
import json
import re
from pathlib import Path

LESSONS = Path(__file__).resolve().parents[1]/"nbs"/"workshop"
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$", re.M | re.S)


def participant(lesson:dict) -> dict:
    "A lesson's notebook without its solutions and without outputs, one folder deeper."
    made = json.loads(json.dumps(lesson))
    for cell in made["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            source = SOLUTION.sub(r"\1...      # YOUR CODE", source)
            cell.update(outputs=[], execution_count=None)
        else:
            source = source.replace("](../", "](../../")
        cell["source"] = source.splitlines(keepends=True)
    return made


def write(notebook:dict, path:Path) -> None:
    "A notebook as nbdev writes it."
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    "Make the participants' notebook of every lesson."
    for lesson in sorted(LESSONS.glob("*.ipynb")):
        path = LESSONS/"_participant"/lesson.name
        write(participant(json.loads(lesson.read_text(encoding="utf-8"))), path)
        print(path)


if __name__ == "__main__":
    main()

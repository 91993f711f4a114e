"""Write the stored pictures of every numbered notebook to figures/PART_NN_name_K.png (`make figures`)."""
import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def pictures(path:Path) -> list[bytes]:
    "The PNGs among the stored outputs of a notebook, in their order."
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]


def main() -> None:
    "Write the pictures of all notebooks, and say how many each has."
    for path in sorted((ROOT/"nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb")):
        found = pictures(path)
        for k, png in enumerate(found, 1):
            (ROOT/"figures"/f"{path.parent.name}_{path.stem}_{k}.png").write_bytes(png)
        print(f"{path.parent.name}/{path.stem}: {len(found)}")


if __name__ == "__main__":
    main()

"""Draw the tables of the ledger to figures/tables, and write the stored pictures of every notebook (`make figures`)."""
import base64
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat

from rs_zeroseg.evidence.figures import counted, draw_table, number_table
from rs_zeroseg.evidence.ledger import LEDGER, current, read_ledger
from rs_zeroseg.evidence.tables import ROWS, settings_of

ROOT = Path(__file__).resolve().parents[1]


def pictures(path:Path) -> list[bytes]:
    "The PNGs among the stored outputs of a notebook, in their order."
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]


def draw_tables(folder:Path) -> None:
    "Each table that has runs in the package's ledger: differences as a picture, means as numbers."
    folder.mkdir(exist_ok=True)
    records = read_ledger(LEDGER)
    print(counted(records))
    runs = current(records)
    with plt.rc_context({"svg.hashsalt": "rs-zeroseg", "svg.fonttype": "path"}):      # the same bytes every time
        for table in ROWS:
            if any(setting in runs for setting in settings_of(table).values()):
                draw_table(table, records).savefig(folder/f"{table}.svg", metadata={"Date": None})
                number_table(table, records).to_csv(folder/f"{table}.csv")
                print(f"{table}: drawn")
    plt.close("all")


def main() -> None:
    "Draw the tables, write the pictures of all notebooks, and say how many each has."
    draw_tables(ROOT/"figures"/"tables")
    for path in sorted((ROOT/"nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb")):
        found = pictures(path)
        for k, png in enumerate(found, 1):
            (ROOT/"figures"/f"{path.parent.name}_{path.stem}_{k}.png").write_bytes(png)
        print(f"{path.parent.name}/{path.stem}: {len(found)}")


if __name__ == "__main__":
    main()

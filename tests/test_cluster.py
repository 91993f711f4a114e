"Blocks on a Dask cluster: the same bytes whoever answers, whoever dies, and whenever it is stopped."
import os
import signal
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import rasterio

from rs_zeroseg.data.files import leftovers
from rs_zeroseg.data.pocket import make_scene, write_scene
from rs_zeroseg.model.checkpoint import load
from rs_zeroseg.use import cluster
from rs_zeroseg.use.blocks import Unfinished
from rs_zeroseg.use.raster import segment

pytest.importorskip("distributed")
WORDS = ["grass", "water", "road"]


class Client:
    "As much of a Dask client as is needed: three threads of this process. Task `lost` is cancelled."
    def __init__(self, lost=None):
        self.pool, self.plugins, self.sent, self.lost, self.most = ThreadPoolExecutor(3), {}, 0, lost, 0

    def nthreads(self):
        return {"here": 3}

    def register_plugin(self, plugin, name):
        plugin.setup()
        self.plugins[name] = plugin

    def unregister_worker_plugin(self, name):
        del self.plugins[name]

    def submit(self, task, name, block, key):
        assert task is cluster.answer_task
        self.sent += 1
        if self.sent == self.lost:
            return self.pool.submit(self.cancelled)
        return self.pool.submit(self.plugins[name].answer, block)

    def cancelled(self):
        raise CancelledError

    def cancel(self, futures):
        for future in futures:
            future.cancel()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A scene with a hole and a white part, the model, and its map without a cluster."
    folder, model = tmp_path_factory.mktemp("made"), load("pocket")
    source = write_scene(make_scene(5, size=384), folder/"in.tif")
    with rasterio.open(source) as src:
        image, profile = src.read(), src.profile
    image[:, :130, :130], image[:, 260:] = 0, 255
    with rasterio.open(source, "w", **profile | dict(nodata=0)) as dst:
        dst.write(image)
    segment(source, WORDS, folder/"map.tif", model, 128, progress=False, probabilities=folder/"p.tif")
    return source, model, folder


def bytes_of(*paths):
    return [path.read_bytes() for path in paths]


def test_the_map_of_a_cluster_is_the_map(made, tmp_path):
    source, model, folder = made
    client = Client()

    segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False, probabilities=tmp_path/"p.tif",
            answering=partial(cluster.answer_on_cluster, client))

    assert bytes_of(tmp_path/"map.tif", tmp_path/"p.tif") == bytes_of(folder/"map.tif", folder/"p.tif")
    assert client.plugins == {} and model.text is not None


def test_a_lost_cluster_keeps_what_is_done_and_the_run_goes_on_without_it(made, tmp_path):
    source, model, folder = made

    with pytest.raises(Unfinished, match="the cluster gives no answer"):
        segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False,
                answering=partial(cluster.answer_on_cluster, Client(lost=5)))
    (kept,) = leftovers(tmp_path/"map.tif", "blocks")
    held = (kept/"labels").stat().st_size
    segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False)

    assert 0 < held < 384*384
    assert bytes_of(tmp_path/"map.tif") == bytes_of(folder/"map.tif")


def test_a_run_that_was_stopped_here_goes_on_on_a_cluster(made, tmp_path):
    source, model, folder = made

    def stopped(read, asker, blocks, log):
        from rs_zeroseg.use.blocks import answer_blocks
        for n, _ in enumerate(answer_blocks(read, asker, blocks, log)):
            if n == 3:
                raise KeyboardInterrupt
            yield

    with pytest.raises(KeyboardInterrupt):
        segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False, answering=stopped)
    client = Client()
    segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False,
            answering=partial(cluster.answer_on_cluster, client))

    assert 0 < client.sent < 9
    assert bytes_of(tmp_path/"map.tif") == bytes_of(folder/"map.tif")


def test_a_raster_that_a_worker_does_not_see_is_told(made, tmp_path, monkeypatch):
    source, model, _ = made
    monkeypatch.setattr(cluster.Unpacked, "setup", hidden(cluster.Unpacked.setup))

    with pytest.raises(ValueError, match=r"nowhere\.tif: no such file \(a worker says so"):
        segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False,
                answering=partial(cluster.answer_on_cluster, Client()))


def hidden(setup):
    "The same, on a worker on which the raster has another path."
    def other(self, worker=None):
        setup(self, worker)
        self.read.__self__.name = "nowhere.tif"
    return other


@pytest.mark.parametrize("name, told", [
    ("four", "--cluster four: give tcp://HOST:PORT, or local:4"), ("local:no", "--cluster local:no: give tcp://"),
    ("local:0", "--cluster local:0: give tcp://")])
def test_a_name_that_is_no_cluster_is_told_in_one_line(made, tmp_path, run, name, told):
    done = run("segment", made[0], "--words", "road", "--out", tmp_path/"map.tif", "--cluster", name)

    assert done.exit_code == 2 and told in done.stderr.splitlines()[-1]


def test_two_processes_one_killed_the_same_bytes(made, tmp_path):
    "The acceptance of issue 19; threads are set to one here as Dask does in its workers, so that sums are the same."
    import torch
    source, model, folder = made
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def killing(client, read, asker, blocks, log):
        for n, _ in enumerate(cluster.answer_on_cluster(client, read, asker, blocks, log)):
            if n == 1:
                pid = next(iter(client.run(os.getpid).values()))
                os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            yield

    try:
        segment(source, WORDS, tmp_path/"alone.tif", model, 128, progress=False)
        with cluster.connected("local:2") as client:
            segment(source, WORDS, tmp_path/"map.tif", model, 128, progress=False, answering=partial(killing, client))
    finally:
        torch.set_num_threads(threads)

    assert bytes_of(tmp_path/"map.tif") == bytes_of(tmp_path/"alone.tif")
    assert np.isin(255, rasterio.open(tmp_path/"map.tif").read(1))

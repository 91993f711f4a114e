"""Random events on one explorer: nothing is raised, and memory stays flat. EVENT_SECONDS says how long (CI: 180, `make soak`: 1800)."""
import os
import random
import time

import psutil

from rs_zeroseg.use.explore import AttentionExplorer
from rs_zeroseg.use.reading import PARTS, VIEWS
from rs_zeroseg.use.widgets import COLOUR_MAPS
from rs_zeroseg.data.vocab import caption_words

SECONDS = float(os.environ.get("EVENT_SECONDS", 20))


def random_event(explorer, draw):
    "What an impatient visitor may do next, right or wrong."
    words = [*caption_words(), "volcano", "🌊", "  ", "road"]
    def choose(box, *values): box.value = draw.choice(values)
    acts = (lambda: setattr(explorer.words, "value", ", ".join(draw.choices(words, k=draw.randint(0, 6)))), lambda: choose(explorer.view, *VIEWS.values()),
            lambda: choose(explorer.colours, *COLOUR_MAPS), lambda: setattr(explorer.opacity, "value", draw.random()), lambda: setattr(explorer.threshold, "value", draw.random()),
            lambda: choose(explorer.source, "1000003", "1000004", "1000005", "nowhere.tif", "-1"), lambda: choose(explorer.part, *PARTS),
            lambda: choose(explorer.beside, "", "", "pocket-zero-shot", "no such model"), lambda: [choose(box, *(v for _, v in box.options)) for box in explorer.less],
            lambda: setattr(draw.choice([explorer.image, explorer.map]), "pixel", [draw.random(), draw.random()]),
            lambda: explorer.upload.take(dict(name="x.tif", at=0, last=True), [draw.randbytes(1000)]))
    draw.choices(acts, weights=(6, 1, 1, 3, 3, 2, 1, 1, 1, 4, 1))[0]()


def test_random_events_leave_memory_flat():
    explorer, draw, process = AttentionExplorer(), random.Random(0), psutil.Process()
    for _ in range(150): random_event(explorer, draw)                           # models and caches are filled
    began, events, memory = time.perf_counter(), 0, []
    while (spent := time.perf_counter() - began) < SECONDS or events < 100:
        random_event(explorer, draw); events += 1; memory.append((spent, process.memory_info().rss/1e6))
        assert explorer.grid.children and all(p.data for p in explorer.grid.children)     # there is always a picture
    third = lambda a, b: sorted(mb for t, mb in memory if a <= t/memory[-1][0] <= b)
    first, last = (m[len(m)//2] for m in (third(0, 1/3), third(2/3, 1)))
    print(f"{events} events in {spent:.0f} s, memory {first:.0f} -> {last:.0f} MB")
    assert last < 1.05*first, f"memory grew from {first:.0f} to {last:.0f} MB in {spent:.0f} s"
    assert len(explorer.pictures) <= 2*24 and len(explorer.reading.maps) <= 48

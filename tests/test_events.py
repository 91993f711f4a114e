"""Random events on one explorer: nothing is raised, and memory stays flat.

EVENT_SECONDS says how long (CI: 180, `make soak`: 1800)."""
import os
import random
import time

import psutil

from rs_zeroseg.data.vocab import caption_words
from rs_zeroseg.use.choices import PARTS
from rs_zeroseg.use.explore import AttentionExplorer
from rs_zeroseg.use.reading import VIEWS
from rs_zeroseg.use.widgets import COLOUR_MAPS

SECONDS = float(os.environ.get("EVENT_SECONDS", 20))
WORDS = [*caption_words(), "volcano", "🌊", "  ", "road"]
SOURCES = "1000003", "1000004", "1000005", "nowhere.tif", "-1"
BESIDE = "", "", "pocket-zero-shot", "no such model"


class Visitor:
    "An impatient visitor, who does right and wrong things at random."
    def __init__(self, explorer, seed):
        self.explorer = explorer
        self.draw = random.Random(seed)

    def choose(self, box, values):
        box.value = self.draw.choice(list(values))

    def type_words(self):
        words = self.draw.choices(WORDS, k=self.draw.randint(0, 6))
        self.explorer.words.value = ", ".join(words)

    def choose_view(self):
        self.choose(self.explorer.view, VIEWS.values())

    def choose_colours(self):
        self.choose(self.explorer.colours, COLOUR_MAPS)

    def move_opacity(self):
        self.explorer.opacity.value = self.draw.random()

    def move_threshold(self):
        self.explorer.threshold.value = self.draw.random()

    def open_source(self):
        self.choose(self.explorer.source, SOURCES)

    def choose_part(self):
        self.choose(self.explorer.part, PARTS)

    def choose_beside(self):
        self.choose(self.explorer.beside, BESIDE)

    def choose_difference(self):
        for box in self.explorer.less:
            self.choose(box, (value for _, value in box.options))

    def click(self):
        picture = self.draw.choice([self.explorer.image, self.explorer.map])
        picture.pixel = [self.draw.random(), self.draw.random()]

    def upload_noise(self):
        self.explorer.upload.take(dict(name="x.tif", at=0, last=True), [self.draw.randbytes(1000)])

    def act(self):
        "One random event; words, sliders and clicks are the most frequent ones."
        weights = {
            self.type_words: 6,
            self.choose_view: 1,
            self.choose_colours: 1,
            self.move_opacity: 3,
            self.move_threshold: 3,
            self.open_source: 2,
            self.choose_part: 1,
            self.choose_beside: 1,
            self.choose_difference: 1,
            self.click: 4,
            self.upload_noise: 1,
        }
        event, = self.draw.choices(list(weights), weights.values())
        event()


def median_between(memory, low, high):
    "Median memory in a part of the time, given as fractions of all of it."
    whole = memory[-1][0]
    found = sorted(mb for seconds, mb in memory if low <= seconds/whole <= high)
    return found[len(found)//2]


def test_random_events_leave_memory_flat():
    explorer, process = AttentionExplorer(), psutil.Process()
    visitor = Visitor(explorer, seed=0)
    for _ in range(150):                                     # models and caches are filled
        visitor.act()

    began, memory = time.perf_counter(), []                  # (seconds, MB) after each event
    while (spent := time.perf_counter() - began) < SECONDS or len(memory) < 100:
        visitor.act()
        memory.append((spent, process.memory_info().rss/1e6))
        assert explorer.grid.children                        # there is always a picture
        assert all(picture.data for picture in explorer.grid.children)

    first, last = median_between(memory, 0, 1/3), median_between(memory, 2/3, 1)
    print(f"{len(memory)} events in {spent:.0f} s, memory {first:.0f} -> {last:.0f} MB")
    assert last < 1.05*first, f"memory grew from {first:.0f} to {last:.0f} MB in {spent:.0f} s"
    assert len(explorer.pictures) <= 2*24
    assert len(explorer.sight.reading.maps) <= 48

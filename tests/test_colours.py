"Known categories have their conventional colours everywhere; two words of one map never look alike."
import numpy as np
import pytest

from rs_zeroseg.data.show import IGNORE_COLOUR, NONE_COLOUR, colour_of, colours_for, hex_to_rgb, oklab
from rs_zeroseg.data.vocab import CATEGORIES, DATASETS, LANDDISCOVER50K, caption_words, unseen_words

WORDS = [*caption_words(), *unseen_words()]
OTHERS = ["volcano", "zebra", "iceberg", "piano", "wind turbine", "scaffold", "A220", "helipad"]


def hue(colour):
    "Angle of a colour's hue in Oklab, degrees: about 30 red, 110 yellow, 145 green, 255 blue."
    _, a, b = oklab([colour])[0]
    return np.degrees(np.arctan2(b, a)) % 360


@pytest.mark.parametrize("seed", range(20))
def test_conventions_hold_whatever_else_is_in_the_map(seed):
    rng = np.random.default_rng(seed)
    known = ["vegetation", "plant life", "low vegetation", "forest", "meadow"], ["river", "lagoon", "open water"]
    words = [*known[0], *known[1], *rng.permutation(OTHERS).tolist(), *rng.choice(WORDS, 4, replace=False).tolist()]
    words = list(dict.fromkeys(words))
    order = rng.permutation(len(words))

    colours = dict(zip([words[i] for i in order], colours_for([words[i] for i in order])))

    for word in known[0]:
        red, green, blue = hex_to_rgb(colours[word])
        assert green > max(red, blue) and 100 < hue(colours[word]) < 175, word
    for word in known[1]:
        red, green, blue = hex_to_rgb(colours[word])
        assert blue > max(red, green) and 225 < hue(colours[word]) < 285, word


@pytest.mark.parametrize("seed", range(20))
def test_two_words_of_one_map_never_look_alike(seed):
    rng = np.random.default_rng(seed)
    words = [*rng.choice(WORDS, 12, replace=False).tolist(), *rng.choice(OTHERS, 3, replace=False).tolist()]

    points = oklab([NONE_COLOUR, IGNORE_COLOUR, *colours_for(words)])

    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(len(points), 1)]
    assert apart.min() > .025


def test_a_category_has_one_colour_alone_and_among_all_others():
    names = list(CATEGORIES)
    assert colours_for(names) == [c.colour for c in CATEGORIES.values()] == [colours_for([n])[0] for n in names]
    assert [colours_for([word])[0] for word in WORDS] == [colour_of(word) for word in WORDS]


def test_names_of_other_data_sets_are_read():
    wanted = {"agriculture land": "cropland", "forest land": "tree", "storage-tank": "storage tank", "Van": None,
              "Fishing-Boat": "boat", "Tennis-Court": "tennis court", "swimming-pool": "swimming pool", "Bus": "bus"}
    names = {*LANDDISCOVER50K, *(word for d in DATASETS.values() for word in d.order)}
    assert set(wanted) <= names
    assert {word: colour_of(word) for word in wanted} == {
        word: name and CATEGORIES[name].colour for word, name in wanted.items()}

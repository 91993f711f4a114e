"What crosses modules: pocket scenes through files to samples, batches and maps."
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rs_zeroseg.data.imagery import FolderDataset, augment, read_image
from rs_zeroseg.data.labels import IGNORE, LabelSet, labels_to_map, map_to_labels
from rs_zeroseg.data.pocket import make_scene, write_domain, write_scene
from rs_zeroseg.data.vocab import CATEGORIES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("domain")
    write_domain("landdiscover", path, 3, 96, 50)
    return path


def dataset(folder, **kw): return FolderDataset(folder / "images", folder / "masks", folder / "labels.json", **kw)


def test_a_scene_survives_the_trip_through_a_file(tmp_path):
    scene = make_scene(4, size=64)
    image = read_image(write_scene(scene, tmp_path / "scene.tif"))
    np.testing.assert_array_equal((image * 255).round().numpy().astype(np.uint8), scene.image.transpose(2, 0, 1))


def test_a_domain_on_disk_is_the_domain_in_memory(folder):
    data = dataset(folder)
    names = tuple(CATEGORIES)
    for item, seed in zip(data, range(50, 53)):
        scene = make_scene(seed, "landdiscover", 96)
        known = item["mask"].numpy() != IGNORE
        words = np.array([*data.words, "-"] )[np.where(known, item["mask"], -1)]
        assert known.mean() > .8 and (words == np.array(names)[scene.mask.clip(0, len(names) - 1)])[known].all()
    assert [CATEGORIES[w].novel for w in data.words] == data.labels.novel


def test_crops_do_not_depend_on_workers_or_order(folder):
    data = dataset(folder, crop=40, seed=3)
    loaded = next(iter(DataLoader(data, batch_size=3, num_workers=1)))
    for n in (2, 0, 1):
        assert torch.equal(loaded["image"][n], data[n]["image"]) and torch.equal(loaded["mask"][n], data[n]["mask"])
    assert data[1000]["mask"].shape == (40, 40)


def test_augmentation_invents_no_label_and_moves_mask_with_image(folder):
    batch = next(iter(DataLoader(dataset(folder, crop=64), batch_size=3)))
    before = set(batch["mask"].unique().tolist()) | {IGNORE}

    for seed in range(5):
        mask = augment(batch["image"], batch["mask"], seed)[1]
        assert set(mask.unique().tolist()) <= before

    painted = (batch["mask"] % 2).float()[:, None].expand(-1, 3, -1, -1)
    image, mask = augment(painted, batch["mask"], 1, scale=(1., 1.), jitter=0.)      # flips and quarter turns are exact
    assert torch.equal(image[:, 0].round().long(), mask % 2) and not torch.equal(mask, batch["mask"])


@pytest.mark.parametrize("words", [1, 254, 255, 300])
def test_index_conversions_are_inverse(words):
    labels = np.random.default_rng(words).integers(-1, words, (50, 60))
    labels[0, :2] = -1, words - 1
    valid = np.random.default_rng(0).random((50, 60)) > .1
    coded = labels_to_map(labels, words, valid)
    nodata = 255 if words <= 254 else 65535
    assert coded.dtype == (np.uint8 if words <= 254 else np.uint16) and ((coded == nodata) == ~valid).all()
    np.testing.assert_array_equal(map_to_labels(coded)[valid], labels[valid])


def test_codes_out_of_order_and_far_apart():
    kept = [{"value": value, "name": name} for value, name in ((900, "a"), (0, "b"), (255, "d"))]
    labels = LabelSet("x", [*kept[:2], {"value": 7, "name": "c", "ignore": True}, kept[2]])

    np.testing.assert_array_equal(labels.encode(np.array([[0, 7, 255, 900]])), [[1, IGNORE, 2, 0]])

"Weights are data: no program in a file is run, nothing is built that a file cannot fill, and numbers must be numbers."
import json
import os
import pickle
import random
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from rs_zeroseg.model.checkpoint import load, save
from rs_zeroseg.model.encoders import TimmDense
from rs_zeroseg.model.text import CachedText, load_weights, read_weights


class Writer(torch.nn.Module):
    "A part whose TorchScript archive writes a file when it is opened."
    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.path

    @torch.jit.export
    def __setstate__(self, state: str):
        self.training = False
        self.path = state
        torch.save(torch.zeros(1), state)


def scripted(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(model), str(path))
    return path


def repacked(path, change, name="data.pkl"):
    "The archive with another content of one member; `change` gives it, and how it is packed."
    with zipfile.ZipFile(path) as z:
        members = {m.filename: (z.read(m), m.compress_type) for m in z.infolist()}
    with zipfile.ZipFile(path, "w") as z:
        for member, (content, kind) in members.items():
            content, kind = change(content) if member.endswith(f"/{name}") else (content, kind)
            z.writestr(member, content, kind)
    return path


def mixed():
    "A network with what archives hold: halves, whole numbers, a transposed parameter, lists, parts of parts."
    class Part(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.sizes, self.more = torch.nn.Linear(2, 3), [1, 2], [torch.zeros(1)]
            self.register_buffer("index", torch.arange(3))

        def forward(self, x):
            return self.linear(x) + self.index + self.sizes[0] + self.more[0]

    part = torch.nn.Sequential(Part(), torch.nn.LayerNorm(3))
    part.half16 = torch.nn.Parameter(torch.randn(4).half())
    part.turned = torch.nn.Parameter(torch.randn(4, 3).t())
    return part


def test_the_tensors_of_an_archive_are_those_of_torch(tmp_path):
    path = scripted(mixed(), tmp_path/"mixed.pt")
    expected = torch.jit.load(str(path)).state_dict()

    found = read_weights(path)

    assert all(torch.equal(found[name], v) and found[name].dtype == v.dtype for name, v in expected.items())


def test_the_program_of_an_archive_is_not_run(tmp_path):
    trace = tmp_path/"trace"
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), Writer(str(trace)))
    path = scripted(model, tmp_path/"model.pt")

    found = read_weights(path)

    assert torch.equal(found["0.weight"], model[0].weight) and not trace.exists()
    torch.jit.load(str(path))
    assert trace.exists()   # the trap is one


class Intruder:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


BAD_PICKLES = {
    "a call": lambda trace: pickle.dumps(Intruder(trace), 2),
    "an attribute of a class": lambda trace: b"\x80\x02c__torch__.M\n__init__.__globals__\n.",
    "a huge memo": lambda trace: b"\x80\x02Nr\xff\xff\xff\x7f.",
    "itself": lambda trace: b"\x80\x02c__torch__\nM\nq\x00)\x81q\x01}U\x01ah\x01sb.",
    "cut": lambda trace: b"\x80\x02c__torch__\nM\n)\x81}(",
    "no object": lambda trace: b"\x80\x02K\x01.",
}


@pytest.mark.parametrize("kind", BAD_PICKLES)
def test_a_pickle_within_an_archive_does_nothing(tmp_path, kind):
    trace = tmp_path/"trace"
    path = scripted(torch.nn.Linear(2, 3), tmp_path/"model.pt")
    repacked(path, lambda _: (BAD_PICKLES[kind](str(trace)), zipfile.ZIP_STORED))

    with pytest.raises(ValueError, match="model.pt"):
        load_weights(torch.nn.Linear(2, 3), read_weights(path), path)

    assert not trace.exists()


@pytest.mark.parametrize("member", ["data.pkl", "0"])
def test_a_packed_member_is_not_unpacked(tmp_path, member):
    path = scripted(torch.nn.Linear(2, 3), tmp_path/"model.pt")
    repacked(path, lambda _: (bytes(1 << 26), zipfile.ZIP_DEFLATED), member)

    with pytest.raises(ValueError, match="read safely"):
        read_weights(path)


def test_a_tensor_cannot_reach_beyond_its_numbers(tmp_path):
    path = scripted(torch.nn.Linear(2, 3), tmp_path/"model.pt")
    repacked(path, lambda content: (content[:8], zipfile.ZIP_STORED), "0")

    with pytest.raises(ValueError, match="read safely"):
        read_weights(path)


@pytest.mark.parametrize("content", [[torch.ones(1)], torch.ones(1), 5, {"weight": "x", "bias": None}, {1: {2: 3}}])
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path/"odd.pt")

    with pytest.raises(ValueError, match="odd.pt"):
        load_weights(torch.nn.Linear(2, 3), read_weights(tmp_path/"odd.pt"), tmp_path/"odd.pt")
    with pytest.raises(ValueError, match="odd.pt"):
        TimmDense("vit_tiny_patch16_224", tmp_path/"odd.pt")


BAD_NUMBERS = {
    "int8": lambda v: v.char(), "int64": lambda v: v.long(), "bool": lambda v: v.bool(), "complex64": lambda v: v*1j,
    "not finite": lambda v: v/0, "not finite ": lambda v: v*torch.nan, "another shape": lambda v: v[:1],
}


@pytest.mark.parametrize("fault", BAD_NUMBERS)
def test_weights_of_another_kind_are_refused(tmp_path, fault):
    layer = torch.nn.Linear(2, 3)
    state = {"weight": layer.weight.detach(), "bias": BAD_NUMBERS[fault](torch.ones(3))}
    torch.save(state, tmp_path/"bad.pt")

    with pytest.raises(ValueError, match=f"bad.pt: 1 of 2 tensors.*'bias', which .*{fault.strip()}"):
        load_weights(layer, read_weights(tmp_path/"bad.pt"), tmp_path/"bad.pt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The small shipped model as a checkpoint folder: its configuration and its tensors."
    folder = save(load("pocket"), tmp_path_factory.mktemp("whole")/"model")
    return json.loads((folder/"config.json").read_text()), load_file(folder/"model.safetensors")


def folder_with(path, whole, changed_config=None, changed_tensors=None):
    config, tensors = whole
    path.mkdir()
    (path/"config.json").write_text(json.dumps(config | (changed_config or {})))
    save_file(tensors | (changed_tensors or {}), path/"model.safetensors")
    return path


@pytest.mark.parametrize("fault", ["int8", "bool", "not finite", "not finite ", "another shape"])
def test_a_checkpoint_with_weights_of_another_kind_is_refused(tmp_path, whole, fault):
    name = max(whole[1], key=lambda n: whole[1][n].numel())
    folder = folder_with(tmp_path/"bad", whole, None, {name: BAD_NUMBERS[fault](whole[1][name])})

    with pytest.raises(ValueError, match=f"bad: the weights do not fit config.json .*{name}"):
        load(folder)


BAD_CONFIGS = {
    "a hub's name": {"vlm": "ViT-B-16", "rsi": "hf-hub:somebody/model"},
    "a hub's name ": {"vlm": "hf-hub:somebody/model"},
    "a folder's name": {"vlm": "ViT-B-16", "rsi": "local-dir:/tmp"},
    "too wide": {"dim": 10**6}, "too wide for memory": {"dim": 10**12}, "too many": {"scales": [1]*10**5},
    "too many parameters": {"vlm": "ViT-B-16", "rsi": "vit_7b_patch16_dinov3"},
    "a huge cell": {"patch_px": 4096}, "true for a number": {"dim": True}, "a text": {"dim": "96"},
    "a fraction": {"dim": 96.5},
    "none": {"dim": None}, "a list of lists": {"scales": [[1]]}, "a number for a switch": {"carh": 1},
    "not a number": {"threshold": float("nan")}, "infinite": {"threshold": float("inf")},
    "wider than the file": {"dim": 4096}, "an escape sequence": {"\x1b[2J": 1},
    "files left out": {"left_out": {"x": "y"}},
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_configuration_is_refused_before_anything_is_built(tmp_path, whole, kind, monkeypatch):
    folder = folder_with(tmp_path/"bad", whole, BAD_CONFIGS[kind])

    def nothing(*_, **__):
        raise AssertionError("was built or asked")
    ours = ("rs_zeroseg.model.checkpoint.build", "rs_zeroseg.model.checkpoint.load_file")
    for name in (*ours, "socket.create_connection", "socket.getaddrinfo"):
        monkeypatch.setattr(name, nothing)

    with pytest.raises(ValueError, match="bad") as told:
        load(folder)

    assert str(told.value).isprintable() and len(str(told.value)) < 500


ODD_CONFIGS = ["["*10**6, '{"a":'*10**5, " "*2**21, "[]", "5", "null", '{"model": {"a": 1}}', '{"model": null}']


@pytest.mark.parametrize("text", ODD_CONFIGS, ids=range(len(ODD_CONFIGS)))
def test_a_config_that_is_none_is_refused(tmp_path, whole, text):
    folder = folder_with(tmp_path/"bad", whole)
    (folder/"config.json").write_text(text)

    with pytest.raises(ValueError, match="bad"):
        load(folder)


class Words:
    "An encoder whose vectors nobody could take for those of a damaged file."
    dim, key = 64, "words"

    def __init__(self):
        self.asked = []

    def encode(self, words):
        self.asked += words
        vectors = [torch.randn(64, generator=torch.Generator().manual_seed(sum(map(ord, word)))) for word in words]
        return torch.nn.functional.normalize(torch.stack(vectors), dim=-1)


def test_no_flipped_bit_of_a_text_cache_gives_another_vector(tmp_path):
    words = ["water", "road", "tennis court"]
    expected, cache = Words().encode(words), CachedText(Words(), tmp_path)
    cache.encode(words)
    good = cache.path.read_bytes()
    again = Words()
    assert torch.equal(CachedText(again, tmp_path).encode(words), expected) and not again.asked   # undamaged: read
    header = 8 + int.from_bytes(good[:8], "little")
    bits = [*range(8*header), *random.Random(0).sample(range(8*header, 8*len(good)), 400)]

    for bit in bits:
        flipped = bytearray(good)
        flipped[bit//8] ^= 1 << bit % 8
        cache.path.write_bytes(flipped)
        held = CachedText(Words(), tmp_path).vectors
        assert all(torch.equal(held[word], v) for word, v in zip(words, expected) if word in held), bit
        assert set(held) <= set(words)


def test_a_text_cache_of_an_earlier_version_is_written_anew(tmp_path):
    cache = CachedText(Words(), tmp_path)
    cache.path.parent.mkdir(parents=True)
    text = torch.tensor(list(b'["water"]'), dtype=torch.uint8)
    save_file({"words": text, "vectors": torch.eye(64)[:1]}, cache.path)

    vectors = CachedText(Words(), tmp_path).encode(["water"])

    assert torch.equal(vectors, Words().encode(["water"]))

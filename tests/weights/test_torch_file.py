"""PyTorch files written here instruction by instruction: tensors are read, and nothing else is done."""

import hashlib
import struct

import numpy as np
import pytest

from centerkp.weights.torch_file import parse_tensors, read_tensors

HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."
HEAD += b"\x80\x02}(X\x10\x00\x00\x00protocol_versionM\xe9\x03X\x0d\x00\x00\x00little_endian\x88u."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def numbers(values) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + b"J"
        + struct.pack("<i", count)
        + b"NtQ"
    )


def tensor(key, count, offset, shape, strides, kind="FloatStorage") -> bytes:
    place = b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(strides)
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key, count, kind) + place
    return call + b"\x89ccollections\nOrderedDict\n)RtR"


def file(entries: dict[str, bytes], storages: dict[str, np.ndarray], table=b"ccollections\nOrderedDict\n)R") -> bytes:
    items = b"".join(text(name) + value for name, value in entries.items())
    keys = b"\x80\x02](" + b"".join(text(key) for key in storages) + b"e."
    data = b"".join(struct.pack("<q", len(values)) + values.tobytes() for values in storages.values())
    return HEAD + b"\x80\x02" + table + b"(" + items + b"u." + keys + data


VALUES = np.arange(24, dtype="<f4")


def test_strides_offsets_and_types():
    """Stored channels last, with an offset, two tensors in one storage, and an integer without dimensions."""
    entries = {
        "plain": tensor("7", 24, 0, (2, 3, 4), (12, 4, 1)),
        "turned": tensor("7", 24, 0, (4, 3, 2), (1, 4, 12)),
        "part": tensor("7", 24, 6, (2, 2), (8, 1)),
        "count": tensor("8", 1, 0, (), (), "LongStorage"),
        "empty": tensor("7", 24, 0, (0, 3), (3, 1)),
    }
    found = parse_tensors(file(entries, {"7": VALUES, "8": np.array([2**40])}))
    plain = VALUES.reshape(2, 3, 4)
    np.testing.assert_array_equal(found["plain"], plain)
    np.testing.assert_array_equal(found["turned"], plain.transpose(2, 1, 0))
    np.testing.assert_array_equal(found["part"], [[6, 7], [14, 15]])
    assert found["count"] == 2**40 and found["count"].shape == () and found["empty"].shape == (0, 3)
    found["plain"][:] = 0  # its own memory
    assert found["turned"].max() == 23


HOSTILE = {
    "a function": b"cos\nsystem\n(" + text("touch /tmp/owned") + b"tR",
    "another way to name one": text("os") + text("system") + b"\x93(" + text("true") + b"tR",
    "a class, the oldest way": b"(" + text("true") + b"ios\nsystem\n",
    "an object": b"(cos\nsystem\n" + text("true") + b"o",
    "a new object": b"cbuiltins\nobject\n)\x81",
    "an extension": b"\x82\x01",
    "PyTorch's own function with something else": b"ctorch._utils\n_rebuild_tensor_v2\n(" + text("x") + b"tR",
    "a table from a list": b"ccollections\nOrderedDict\n(]tR",
    "the state of a tensor": tensor("7", 24, 0, (2,), (1,)) + b"}(" + text("__class__") + b"Nub",
    "another reference": b"(" + text("module") + text("x") + b"tQ",
    "a reference with nothing in it": b"NQ",
    "an unknown type": storage("7", 24, "ObjectStorage"),
    "a number": b"K\x01",
    "a name only": b"cos\nsystem\n",
    "beyond its storage": tensor("7", 24, 20, (5,), (1,)),
    "far beyond": tensor("7", 24, 0, (2, 2), (2**30, 2**30)),
    "before its storage": tensor("7", 24, 4, (5,), (-1,)),
    "one number many times": tensor("7", 24, 0, (2**30,), (0,)),
    "a negative offset": tensor("7", 24, -1, (2,), (1,)),
    "a stride too few": tensor("7", 24, 0, (2, 2), (1,)),
    "a storage that is not there": tensor("9", 24, 0, (2,), (1,)),
    "nothing on the stack": b"R",
    "memory that is not there": b"h\x05",
}


@pytest.mark.parametrize("entry", HOSTILE.values(), ids=HOSTILE)
def test_anything_else_is_refused(entry):
    with pytest.raises(ValueError, match="expected a table of tensors and nothing else"):
        parse_tensors(file({"x": entry}, {"7": VALUES}))


def test_not_even_looked_up(monkeypatch):
    """A file that names a module does not have it imported."""
    monkeypatch.setattr("builtins.__import__", lambda name, *rest: pytest.fail(f"imported {name}"))
    with pytest.raises(ValueError, match="a call of"):
        parse_tensors(file({"x": b"cno_such_module\nrun\n(tR"}, {}))


@pytest.mark.parametrize("content", [b"", HEAD, b"PK\x03\x04", HEAD + b"\x80\x02N.\x80\x02].", HEAD[15:]])
def test_other_files(content):
    with pytest.raises(ValueError, match="PyTorch weights"):
        parse_tensors(content)


# Python's reader of instructions warns of texts that nothing here takes.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_damage_is_a_value_error():
    """Cut anywhere, or with any byte changed: read, or refused in one way."""
    whole = file({"a": tensor("7", 24, 0, (2, 3, 4), (12, 4, 1)), "b": tensor("7", 24, 6, (2, 2), (8, 1))}, {"7": VALUES})
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.2 else whole)
        for at in rng.integers(max(len(damaged), 1), size=rng.integers(1, 4)):
            damaged[at : at + 1] = bytes([rng.integers(256)])
        try:
            parse_tensors(bytes(damaged))
        except ValueError:
            pass


def test_only_the_named_file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(file({"x": tensor("7", 24, 0, (24,), (1,))}, {"7": VALUES}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(read_tensors(path, digest)["x"], VALUES)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=f"SHA-256 .* expected {digest}; install"):
        read_tensors(path, digest)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_tensors(tmp_path / "other.pth", digest)

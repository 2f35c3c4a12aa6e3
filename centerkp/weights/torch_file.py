"""PyTorch weights files -> arrays, without PyTorch and without running what the file says.

Such a file is a pickle, and a pickle is a program. The reader here takes the few instructions that a table of tensors is
written with as descriptions, never as calls: there is nothing in it that could look up a function, import or run one. The
format is the one that `torch.save` wrote before its zip files: a magic number, a version, facts about the machine, the table,
the list of storages (each a pickle of its own), then for every storage its length and its bytes.
"""

import hashlib
import io
import math
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TENSOR, _TABLE = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_TYPES = {"torch FloatStorage": "<f4", "torch DoubleStorage": "<f8", "torch HalfStorage": "<f2", "torch LongStorage": "<i8"}
_MARK = object()


def read_tensors(path: str | Path, sha256: str) -> dict[str, np.ndarray]:
    """The tensors of the one PyTorch file that has this digest, by name, as arrays of their own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another file than the named one, or one that holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected PyTorch weights, install the package that brings them again.")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path}: found a file with SHA-256 {found}, expected {sha256}; install the package that brings it again."
        )
    return parse_tensors(content)


def parse_tensors(content: bytes) -> dict[str, np.ndarray]:
    """The tensors in the bytes of any PyTorch weights file, as `read_tensors`.

    Raises:
        ValueError: they hold anything but tensors, or are damaged.
    """
    try:
        return _parse_torch_file(content)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"PyTorch weights: found {error}, expected a table of tensors and nothing else; use another file."
        ) from None


def _parse_torch_file(content: bytes) -> dict[str, np.ndarray]:
    """All tensors of a PyTorch file, which is a few pickles and the numbers."""
    stream = io.BytesIO(content)
    head = [_parse_pickle(stream) for _ in range(3)]
    if head[:2] != [_MAGIC, _VERSION] or not head[2]["little_endian"]:
        raise ValueError(f"a file that begins with {head[:2]} and not with {[_MAGIC, _VERSION]}, or big-endian numbers")
    table, keys = _parse_pickle(stream), _parse_pickle(stream)
    types = {tensor.storage: tensor.type for tensor in table.values() if isinstance(tensor, _Tensor)}
    storages = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        storages[key] = np.frombuffer(stream.read(count * np.dtype(types[key]).itemsize), types[key], count)
    return {str(name): _view_tensor(tensor, storages) for name, tensor in table.items()}


class _Global(NamedTuple):
    """The name of something to import, which is not imported."""

    name: str


class _Storage(NamedTuple):
    """The numbers that tensors are views of: their type and their key in the file."""

    type: str
    key: str


class _Tensor(NamedTuple):
    """What the file says of a tensor: strides and offset count elements of its storage, not bytes."""

    storage: str
    type: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view_tensor(tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    """A tensor of a PyTorch file as an array of its own."""
    if not isinstance(tensor, _Tensor):
        raise ValueError(f"the entry {tensor!r:.60}")
    values = storages[tensor.storage]
    whole = (tensor.offset, *tensor.shape, *tensor.strides)
    if not all(type(n) is int and n >= 0 for n in whole) or len(tensor.shape) != len(tensor.strides):
        raise ValueError(f"a tensor of shape {tensor.shape} with strides {tensor.strides}")
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if math.prod(tensor.shape) and last >= len(values) or math.prod(tensor.shape) > len(values):
        raise ValueError(f"a tensor that reaches beyond its {len(values)} numbers")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()


def _parse_pickle(stream: io.BytesIO) -> Any:
    """The value of one pickle in a PyTorch file: numbers, texts, tuples, lists, tables, tensors, nothing else."""
    stack, memo = [], {}
    for opcode, argument, _ in pickletools.genops(stream):
        step = _STEPS.get(opcode.name)
        if step:
            step(stack, argument, memo)
        elif opcode.name in _VALUES:
            stack.append(_VALUES[opcode.name](argument))
        elif opcode.name != "PROTO" and opcode.name != "STOP":
            raise ValueError(f"the instruction {opcode.name}")
    (value,) = stack
    return value


def _pop_marked(stack: list) -> list:
    """Takes from the stack of a PyTorch file's pickle what stands above the last mark."""
    at = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _set_items(table: Any, items: list) -> None:
    """Puts entries into a table of a PyTorch file's pickle."""
    if not isinstance(table, dict):
        raise ValueError(f"entries of {table!r:.60}")
    table.update(zip(items[::2], items[1::2], strict=True))


def _read_call(stack: list, argument: Any, memo: dict) -> None:
    """A call in a PyTorch file's pickle, understood only where it describes a table or a tensor."""
    arguments, function = stack.pop(), stack.pop()
    if function == _Global(_TABLE) and arguments == ():
        stack.append({})
    elif function == _Global(_TENSOR) and isinstance(arguments[0], _Storage):
        (type_, key), offset, shape, strides = arguments[:4]
        stack.append(_Tensor(key, type_, offset, shape, strides))
    else:
        raise ValueError(f"a call of {function!r:.60}")


def _read_storage(stack: list, argument: Any, memo: dict) -> None:
    """A storage in a PyTorch file's pickle: ("storage", type, key, device, length, view)."""
    kind, type_, key, _, _, view = stack.pop()
    if kind != "storage" or view is not None or not isinstance(type_, _Global):
        raise ValueError(f"a reference to {kind!r:.60}")
    stack.append(_Storage(_TYPES[type_.name], key))


def _skip_attributes(stack: list, argument: Any, memo: dict) -> None:
    """Attributes of a table in a PyTorch file, which are the versions of its layers: left out."""
    stack.pop()
    if not isinstance(stack[-1], dict):
        raise ValueError(f"a state of {stack[-1]!r:.60}")


def _put_memo(stack: list, argument: Any, memo: dict) -> None:
    """Remembers a value that a PyTorch file's pickle refers to later."""
    memo[argument] = stack[-1]


_VALUES = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "MARK": lambda _: _MARK,
    "GLOBAL": _Global,
    **dict.fromkeys(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"), lambda argument: argument),
}
_STEPS = {
    "BINPUT": _put_memo,
    "LONG_BINPUT": _put_memo,
    "BINGET": lambda stack, argument, memo: stack.append(memo[argument]),
    "LONG_BINGET": lambda stack, argument, memo: stack.append(memo[argument]),
    "TUPLE": lambda stack, argument, memo: stack.append(tuple(_pop_marked(stack))),
    "TUPLE1": lambda stack, argument, memo: stack.append((stack.pop(),)),
    "TUPLE2": lambda stack, argument, memo: stack.append((stack.pop(-2), stack.pop())),
    "TUPLE3": lambda stack, argument, memo: stack.append((stack.pop(-3), stack.pop(-2), stack.pop())),
    "SETITEM": lambda stack, argument, memo: _set_items(stack[-3], [stack.pop(-2), stack.pop()]),
    "SETITEMS": lambda stack, argument, memo: (lambda items: _set_items(stack[-1], items))(_pop_marked(stack)),
    "APPENDS": lambda stack, argument, memo: (lambda items: stack[-1].extend(items))(_pop_marked(stack)),
    "REDUCE": _read_call,
    "BINPERSID": _read_storage,
    "BUILD": _skip_attributes,
}

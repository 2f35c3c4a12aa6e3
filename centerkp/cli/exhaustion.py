"""What a command says when the memory or the disk is full, whichever library noticed it, in whichever thread."""

import os
import re
from argparse import Namespace
from collections.abc import Sequence

from centerkp.samples.memory import MEMORY_ERRORS
from centerkp.wording import name_canvas

# NumPy and Python raise a MemoryError, which keeps its name where TensorFlow passes it on as text. A full disk has the same
# class in TensorFlow as full memory, so that the text decides.
_DISK = re.compile(r"No space left on device|Disk quota exceeded|File too large|not enough space on the disk", re.IGNORECASE)
_SHAPE = re.compile(r"shape ?[\[(]([0-9, ]+)[\])]")
_BYTES = re.compile(r"(?:allocate|allocating|allocation of) (?:([0-9]+) ?bytes|([0-9.]+ ?[KMGT]i?B))", re.IGNORECASE)
# The flags that make a command's work smaller, the most effective first; and what else does.
_SMALLER = {
    "train": (
        "--batch-size auto",
        "--batch-size",
        "--accumulate",
        "--remat",
        "--image-size",
        "--stacks",
        "--backbone",
        "--threads",
    ),
    "infer": ("--batch-size", "--image-size", "--stacks", "--tta"),
    "serve": ("--batch-size", "--image-size"),
    "eval": ("--batch-size", "--image-size", "--tta"),
    "review": ("--batch-size", "--tta"),
    "export": ("--image-size", "--stacks", "--calibrate"),
    "convert": ("--image-size", "--stacks"),
    "show": ("--count", "--image-size", "--width"),
    "check": ("--image-size",),
}
_OUT = {"train": "--run", "demo": "--run"} | dict.fromkeys(
    ("infer", "eval", "review", "export", "split", "show", "merge"), "--out"
)


def explain_exhaustion(error: BaseException, options: Namespace) -> str | None:
    """One sentence for an error of a command that comes from full memory or a full disk; None for every other.

    Args:
        options: of the command, whose values are named.
    """
    causes = _list_causes(error)
    text = "\n".join(f"{type(one).__name__}: {one}" for one in causes)
    command = options.run_command.__module__.rsplit(".", 1)[-1]
    if _DISK.search(text):
        flag = f" with {_OUT[command]}" if command in _OUT else ""
        return f"{_find_file(causes, text)}: found the disk full, expected room; free some or write to another disk{flag}."
    if not any(isinstance(one, MemoryError) for one in causes) and not MEMORY_ERRORS.search(text):
        return None
    smaller = [_name_flag(flag, options) for flag in _SMALLER.get(command, ())]
    remedy = f"make it smaller with {', '.join(smaller)}" if smaller else "close other programs or use a machine with more"
    return f"{command}: found no memory for {_find_size(text)}, expected it to be free; {remedy}."


def _list_causes(error: BaseException) -> list[BaseException]:
    """The error that ended a command and those that it came from: any of them may speak of the full memory or disk."""
    causes: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in causes:
        causes.append(one)
        one = one.__cause__ or one.__context__
    return causes


def _find_size(text: str) -> str:
    """How much memory was asked for in vain, read from the errors' text, as in "3.2 GB"; general words where it is not said."""
    if shape := _SHAPE.search(text):
        return f"an array of {' x '.join(re.findall('[0-9]+', shape[1]))} numbers"
    if size := _BYTES.search(text):
        return f"{int(size[1]) / 1e9:.1f} GB" if size[1] else size[2]
    return "what was to be computed"


def _find_file(causes: Sequence[BaseException], text: str) -> str:
    """The file that a full disk did not take, from an error's own `filename` or the errors' text; "writing" if unknown."""
    for one in causes:
        if isinstance(one, OSError) and one.filename is not None:
            return os.fsdecode(one.filename)
    named = re.search(r"(/[^;'{}\n]+?)(?=; No space|; Disk quota|; File too large|')", text)
    return named[1] if named else "writing"


def _name_option(flag: str) -> str:
    """Under which name the parsed options hold a flag whose value makes the memory full: --batch-size as batch_size."""
    return flag.removeprefix("--").replace("-", "_")


def _name_flag(flag: str, options: Namespace) -> str:
    """A flag that makes the work fit the memory, with its present value: "--batch-size (now 8)"."""
    value = getattr(options, _name_option(flag), None)
    value = name_canvas(*value) if isinstance(value, tuple) else value
    said = isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""
    return f"{flag} (now {value})" if said else flag

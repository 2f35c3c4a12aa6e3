"""A run's settings in words for its page: why each is what it is, and the command that does the run again."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

_RULE = re.compile(r"(by default|'auto' is) .*", re.DOTALL)  # of a setting's help: how its default comes about


def list_changed(settings: Any) -> list[str]:
    """The names of the settings, a dataclass, that are not at their default; where the run is written is none of them."""
    return [f.name for f in fields(settings) if getattr(settings, f.name) != f.default and f.name != "run"]


def explain_settings(settings: Any, asked: Sequence[str] | None, choices: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Name, value, default and reason of a run's settings that are not at their default.

    Args:
        asked: names of those that were given; None where nobody knows.
        choices: lines on those that were chosen, which begin with the name, in words.
    """
    chosen = {name.replace(" ", "_"): why for name, _, why in (line.partition(": ") for line in choices)}
    rows = []
    for one in fields(settings):
        if one.name not in list_changed(settings):
            continue
        rule = _RULE.search(one.metadata["help"])
        if one.name in chosen:
            reason = f"chosen: {chosen[one.name]}"
        elif asked is None:
            reason = "not kept by the version that trained"
        elif one.name in asked:
            reason = "given"
        else:
            reason = rule[0] if rule else "follows from the others"
        rows.append((one.name, format_value(getattr(settings, one.name)), format_value(one.default), reason))
    return rows


def format_command(settings: Any, backend: str) -> str:
    """The command that does a run again, into a folder of its own: all settings that are not at their default."""
    words = [] if backend == "tensorflow" else [f"KERAS_BACKEND={backend}"]
    words += ["centerkp", "train"]
    for name in list_changed(settings):
        value, flag = getattr(settings, name), name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple) and value and isinstance(value[0], str):  # paths, of which each has its flag
            words += [word for path in value for word in (f"--{flag}", path)]
        elif isinstance(value, tuple):
            words += [f"--{flag}", ",".join(map(str, value))]
        else:
            words += [f"--{flag}={value}"] if str(value).startswith("-") else [f"--{flag}", str(value)]
    return shlex.join(words)


def format_value(value: Any) -> str:
    """A setting's value as the page shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else "-" if value in (None, "") else str(value)

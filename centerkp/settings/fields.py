"""What a field of the settings says of itself: its default, its help text, its group in the help, what it takes."""

from dataclasses import field
from functools import partial
from typing import Any


def _setting(group: str, default: Any, text: str, *, choices: tuple = (), name: str = "", **about: Any) -> Any:
    """A field of the settings with its help text; `name` is its value's in the help.

    A `repeat` flag joins by commas, `words` stand for some of the values, and `alone` for the flag without a value.
    """
    about = {"repeat": False, "words": {}, "alone": None} | about
    return field(default=default, metadata=about | {"group": group, "help": text, "choices": choices, "name": name})


# What a setting is about: the groups of `train --help`, in the order in which the fields first name them.
of_data, of_start, of_length, of_machine = (partial(_setting, group) for group in ("data", "start", "length", "machine"))
of_learning, of_augmentation = partial(_setting, "learning"), partial(_setting, "augmentation")
of_evaluation, of_output = partial(_setting, "evaluation"), partial(_setting, "output")

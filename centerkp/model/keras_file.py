"""Is a `.keras` file what it claims to be? Looked at before Keras reads it, because model files come from anywhere.

Keras finds the classes that a file names by importing their modules. So only those are allowed that this package's models and
their training consist of; everything else is refused before a single line of it could run.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from centerkp.model.bounds import check_fields, check_values, check_weights

MODEL = "centerkp>CenterNet"
# Our own optimizer, which a model in training is saved with.
OPTIMIZER = ("centerkp.model.averaging", "AveragingAdamW", "centerkp>AveragingAdamW")
# The parts of Keras that a saved CenterNet refers to: its precision, and the optimizer with its schedule.
DTYPE_MODULES = ("keras", "keras.dtype_policies")
DTYPE_CLASSES = ("DTypePolicy", "FloatDTypePolicy", "DTypePolicyMap")
OPTIMIZER_MODULES = ("keras.optimizers", "keras.optimizers.schedules")
WEIGHTS = "model.weights.h5"
MEMBERS = {"metadata.json", "config.json", WEIGHTS}
MAX_CONFIG_BYTES = 10_000_000
UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, OverflowError)


def check_keras_file(path: Path, count_parameters: Callable) -> None:
    """Lets a `.keras` file pass that holds a CenterNet and nothing else, of a size that can be; ValueError else.

    Args:
        count_parameters: of a schema and a backbone, without building them.

    Raises:
        ValueError: it is no `.keras` file, holds another model, or names code that a CenterNet does not consist of; or its
            fields and weights are out of all bounds (`bounds`).
    """
    config = _read_file_config(path)
    if (config.get("registered_name"), config.get("class_name")) != (MODEL, "CenterNet"):
        found = str(config.get("class_name") or "no model")
        raise ValueError(f"{path}: found a {found}, expected a CenterNet written by centerkp; name another file.")
    foreign = sorted(
        {_describe_object(entry) for entry in _find_objects(config) if entry is not config and not _is_allowed(entry)}
    )
    if foreign:
        raise ValueError(
            f"{path}: found {', '.join(foreign[:5])}, which could run code of the file's author, expected a CenterNet of plain "
            "Keras parts; the file was not loaded, do not trust it."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            weight_bytes = check_weights(archive, WEIGHTS)
        check_fields(config["config"], count_parameters, weight_bytes)
    except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__} {error}" if isinstance(error, KeyError | TypeError | AttributeError) else error
        raise ValueError(f"{path}: not a readable centerkp model ({what}); train one or name another file.") from None


def _read_file_config(path: Path) -> dict:
    """The configuration inside a `.keras` file; ValueError when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if not MEMBERS - {"metadata.json"} <= members:
                raise ValueError(f"its members are {sorted(members)[:10]}")
            if members - MEMBERS:
                raise ValueError(f"it also holds {sorted(members - MEMBERS)[:10]}, which no centerkp model has")
            for name in members - {WEIGHTS}:
                if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
                    raise ValueError(f"its {name} is too long")
            config = json.loads(archive.read("config.json"))
            if isinstance(config, dict):
                check_values(config)
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable centerkp model ({error}); train one or name another file.") from None
    if path.suffix != ".keras" or not isinstance(config, dict):
        raise ValueError(f"{path}: not a readable centerkp model; name a file that ends in .keras and was written by centerkp.")
    return config


def _find_objects(value: Any) -> Iterator[dict]:
    """Everything in a `.keras` file's configuration that Keras would build or look up by name."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value or "registered_name" in value:
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _is_allowed(entry: dict) -> bool:
    """Whether an object that a `.keras` file names belongs to a CenterNet, and so may be built."""
    module, name = entry.get("module"), entry.get("class_name")
    if (module, name, entry.get("registered_name")) == OPTIMIZER:
        return True
    if entry.get("registered_name") not in (None, name) or not isinstance(name, str):
        return False
    if module in DTYPE_MODULES:
        return name in DTYPE_CLASSES
    return module in OPTIMIZER_MODULES and name.isidentifier() and name[0].isupper()  # functions and "__lambda__" are not


def _describe_object(entry: dict) -> str:
    """An object that a `.keras` file names, for the error."""
    name = entry.get("registered_name") or entry.get("class_name")
    module = entry.get("module")
    return f"{name} of module {module}" if module else str(name)

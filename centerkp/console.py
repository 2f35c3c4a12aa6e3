"""The terminal as centerkp writes to it, and what native libraries write there held back."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.segment import Segment

from centerkp.wording import printable

MIN_COLUMNS, MAX_COLUMNS = 20, 10_000


class _PlainConsole(Console):
    """Names may hold what steers terminals; nothing but rich's own styles reaches one."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """What rich sends to the terminal, with every text made printable, so that no name in it can steer the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def make_console(**options: Any) -> Console:
    """A rich console for the terminal that prints what it is given, also in the cells of tables.

    Names of classes, keypoints and files may hold brackets and colons, which rich would otherwise read as markup and emoji,
    and control characters, see `wording.printable`. A width in COLUMNS in which nothing can be read is not believed.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and not MIN_COLUMNS <= int(columns[:9]) <= MAX_COLUMNS:
        options = {"_environ": {name: value for name, value in os.environ.items() if name != "COLUMNS"}} | options
    return _PlainConsole(markup=False, emoji=False, highlight=False, **options)


@contextmanager
def native_silence() -> Iterator[None]:
    """Inside, holds back warnings and what native libraries write to the error stream; shows it when an error is raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except (ValueError, FileNotFoundError, RuntimeError, KeyboardInterrupt):
            raise  # these say enough by themselves
        except BaseException:
            heard.seek(0)
            os.write(kept, heard.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def import_quietly(name: str) -> ModuleType:
    """Imports a module like Keras without the greetings its native libraries print on the terminal, burying what matters."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # also for what TensorFlow says later, as of a GPU that is not there
    with native_silence():
        return import_module(name)


def import_extra(package: str, extra: str) -> Any:
    """Imports a package that only one format or logger needs; FileNotFoundError with the remedy where it is missing.

    Args:
        extra: the optional dependencies of centerkp that contain it, such as "onnx".

    Raises:
        FileNotFoundError: it is not installed; names the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise FileNotFoundError(
            f"{package}: found no such package, expected it for what was asked; run: pip install 'centerkp[{extra}]'."
        ) from None

"""The terminal as centerkp writes to it."""

from rich.console import Console


def make_console(**options) -> Console:
    """A console that prints what it is given, also in the cells of tables.

    Names of classes, keypoints and files may hold brackets and colons, which rich would otherwise read as markup and emoji.
    """
    return Console(markup=False, emoji=False, highlight=False, **options)

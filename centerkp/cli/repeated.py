"""Flags that are given several times: joined where that means something, else refused."""

import argparse
from collections.abc import Sequence
from itertools import takewhile
from typing import Any


class Join(argparse.Action):
    """A flag whose values are lists with commas: given several times, it is the list of all."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option_string: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{value}" if before else value)


def find_repeated(actions: dict[str, argparse.Action], arguments: Sequence[str]) -> str | None:
    """The first flag of a command line that says once more what can be said only once, of which the last would win; or None.

    Args:
        actions: what each flag does.
    """
    said = set()
    for word in takewhile(lambda word: word != "--", arguments):
        flag = word.split("=")[0]
        action = actions.get(flag)
        # The actions that gather their values have no public names.
        if action and not isinstance(action, Join | argparse._AppendAction | argparse._HelpAction):
            if action.dest in said:
                return flag
            said.add(action.dest)
    return None

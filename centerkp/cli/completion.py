"""`centerkp --print-completion SHELL`: what completes commands, flags and files in a shell, written by shtab."""

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "tcsh", "fish")
FOLDERS = ("DIR", "RUN")
FILES = ("JSON", "FILE", "MODEL", "SOURCE", "OUT", "PATH", "PBTXT", "CONFIG", "CHECKPOINT", "IMAGES")


class PrintCompletion(argparse.Action):
    """The flag: prints the script for a shell, and ends the program."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Prints the completion script for the shell `values`; shtab is imported only here."""
        import shtab

        for one in _list_parsers(parser):
            for action in one._actions:
                word = action.metavar if isinstance(action.metavar, str) else ""
                if word in FOLDERS:
                    action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
                elif word in FILES or "." in word and "," not in word:  # OUT.json, REPORT.html
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=values))
        parser.exit()


def _list_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(one for action in below for child in action.choices.values() for one in _list_parsers(child))]

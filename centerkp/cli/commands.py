"""Which commands there are, and `main`."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from time import monotonic
from typing import Any, NoReturn

from rich.console import Console

from centerkp import __version__
from centerkp.cli.completion import SHELLS, PrintCompletion
from centerkp.cli.exhaustion import explain_exhaustion
from centerkp.cli.repeated import find_repeated
from centerkp.cli.signals import as_interrupts
from centerkp.console import import_quietly
from centerkp.wording import printable, suggest

# Each is a module beside this one with HELP, add_arguments(parser) and run(options) -> exit code or None.
COMMANDS = (
    "train",
    "tune",
    "infer",
    "bulk",
    "serve",
    "eval",
    "report",
    "export",
    "check",
    "review",
    "show",
    "split",
    "merge",
    "import",
    "export_labels",
    "sigmas",
    "label_map",
    "tfrecord",
    "convert",
    "demo",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command of `centerkp` and returns its exit code: 0, 2 for wrong input, or what the command says.

    130 when interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """
    started = monotonic()  # before Keras is read, which takes seconds: a user's time counts from the start
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a pipe on Windows holds few letters: better a question mark than no report
            stream.reconfigure(errors="replace")
    parser = build_parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = [flag for action in options.parser._actions for flag in action.option_strings]
        hints = [f"{u.split('=')[0]}{suggest(u.split('=')[0], flags)}" for u in unknown if u.startswith("-")] or unknown
        options.parser.error(f"unknown argument {'; '.join(hints)}" + ("" if "did you mean" in hints[0] else "; see --help"))
    options.started = started
    try:
        with as_interrupts():
            if options.needs_keras:
                import_quietly("keras")
            return options.run_command(options) or 0
    except KeyboardInterrupt as error:
        print("\ninterrupted", file=sys.stderr)
        return getattr(error, "exit_code", 130)
    except Exception as error:
        # A sentence of ours, or what a library or the system says.
        ours = isinstance(error, ValueError) or (isinstance(error, OSError) and error.strerror is None)
        text = None if ours else explain_exhaustion(error, options)
        if text is None and not isinstance(error, ValueError | OSError):
            raise
        print(f"\nerror: {printable(text or _describe_error(error))}", file=sys.stderr)
        return 2


def _describe_error(error: Exception) -> str:
    """The error that ended a command as a sentence, also where it is the system's own."""
    if isinstance(error, OSError) and error.strerror is not None:
        name = "a file" if error.filename is None else os.fsdecode(error.filename)
        return f"{name}: could not be read or written ({error.strerror}); check that it may be, and that there is free space."
    return str(error)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Prints what the user of a command should know, a yellow line each, on a `rich.console.Console`."""
    for note in notes:
        console.print(f"  {note}", style="yellow")


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses arguments as argparse does, but of a flag given twice the last does not win in silence."""
        repeated = find_repeated(self._option_string_actions, args or ())
        if repeated:
            self.error(f"{repeated}: found twice, expected once, since it takes one value; leave one of them out")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends a command at wrong arguments as argparse does, but nothing in the message steers the terminal."""
        super().error(printable(message))


def build_parser() -> argparse.ArgumentParser:
    """The argparse parser of the command line: all commands and their flags."""
    parser = _Parser("centerkp", description="Keypoint detection for your own objects.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    text = "print a script that completes commands, flags and files in this shell"
    parser.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS, help=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"centerkp.cli.{name}")
        text = module.HELP
        command = commands.add_parser(
            name.replace("_", "-"), help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        command.set_defaults(run_command=module.run, parser=command, needs_keras=getattr(module, "NEEDS_KERAS", True))
        module.add_arguments(command)
    return parser

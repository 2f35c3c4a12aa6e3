"""The commands, a module each, and `main`, which runs one.

A command line goes in; an exit code comes out. A module has HELP, add_arguments(parser) and run(options).
"""

from centerkp.cli.commands import main

__all__ = ["main"]

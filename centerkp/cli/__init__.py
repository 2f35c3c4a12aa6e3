"""The commands, a module each, and `main`, which runs one."""

from centerkp.cli.commands import main

__all__ = ["main"]

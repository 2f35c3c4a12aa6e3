"""Reads the text files of the Object Detection API, label_map.pbtxt and pipeline.config, without protocol buffers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[-+\w./]+) | (?P<mark>[:{}<>\[\],;]) | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">"}
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}

Message = dict[str, list]  # a field may stand several times; a value is a Message or a string


def read_text_format(path: str | Path) -> Message:
    """Reads a protocol buffer in text form as nested dictionaries: a field is a list of strings or such dictionaries.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not in this form; names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a label_map.pbtxt or a pipeline.config.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error}); expected a label_map.pbtxt or a pipeline.config.") from None
    try:
        return _read_message(_Tokens(text, str(path)), end=None)
    except RecursionError:
        raise ValueError(f"{path}: found brackets within brackets without end, expected a few; check the file.") from None


class _Tokens:
    """The words of a text, one after another."""

    def __init__(self, text: str, where: str):
        self.text, self.where, self.line = text, where, 1
        self.ahead = self._scan_words()
        self.current = next(self.ahead, None)

    def _scan_words(self) -> Iterator[tuple[str, str, int]]:
        """The words of a .pbtxt or .config text with their kind and line."""
        line = 1
        for match in _TOKEN.finditer(self.text):
            if match.lastgroup:
                yield match.lastgroup, match[0], line
            line += match[0].count("\n")

    def take(self) -> tuple[str, str]:
        """The kind and text of the next word of the text format; goes on to the one after it."""
        if self.current is None:
            raise ValueError(f"{self.where}, line {self.line}: the file ends early, expected a closing bracket or a value.")
        kind, text, self.line = self.current
        self.current = next(self.ahead, None)
        return kind, text

    def next_is(self, *texts: str) -> bool:
        """Whether the next word of the text format is one of these marks."""
        return self.current is not None and self.current[0] == "mark" and self.current[1] in texts

    def fail(self, found: str, expected: str) -> ValueError:
        """The error for a text that goes on otherwise than the text format does."""
        return ValueError(f"{self.where}, line {self.line}: found '{found}', expected {expected}; check the file.")


def _read_message(tokens: _Tokens, end: str | None) -> Message:
    """The fields of one message of the text format, up to its closing bracket."""
    message: Message = {}
    while tokens.current is not None or end:
        kind, name = tokens.take()
        if (kind, name) == ("mark", end):
            return message
        if kind != "word":
            raise tokens.fail(name, "the name of a field")
        if tokens.next_is(":"):
            tokens.take()
        message.setdefault(name, []).extend(_read_values(tokens))
        while tokens.next_is(",", ";"):
            tokens.take()
    return message


def _read_values(tokens: _Tokens) -> list:
    """The values behind a field's name in the text format: a message, a list, a word or a string."""
    kind, text = tokens.take()
    if text in _CLOSING and kind == "mark":
        return [_read_message(tokens, _CLOSING[text])]
    if (kind, text) == ("mark", "["):
        values = []
        while not tokens.next_is("]"):
            values += _read_values(tokens)
            if tokens.next_is(","):
                tokens.take()
        tokens.take()
        return values
    if kind not in ("string", "word"):
        raise tokens.fail(text, "a value")
    if kind == "word":
        return [text]
    parts = [text]
    while tokens.current is not None and tokens.current[0] == "string":  # pieces of one string
        parts.append(tokens.take()[1])
    return ["".join(_unescape(part[1:-1]) for part in parts)]


def _unescape(text: str) -> str:
    """A string of the text format as it is meant: numbers behind a backslash are bytes, of which an accented letter has two."""

    def byte(match: re.Match) -> bytes:
        code = match[1]
        if b"0" <= code[:1] <= b"7":
            return bytes([int(code, 8) & 255])
        return bytes.fromhex(code[1:].decode().zfill(2)) if code[:1] in b"xX" and code[1:] else _LETTERS.get(code, code)

    return _ESCAPE.sub(byte, text.encode()).decode("utf-8", "replace")


def quote_text(text: str) -> str:
    """Any text as a quoted string of the protocol buffer's text format."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'


def first_value(message: Message, name: str, default: Any = None) -> Any:
    """The first value of a field of a message in the text format, a text or a message as `default` is one.

    Without such a value it is `default`, or an empty message.
    """
    values = message.get(name) if isinstance(message, dict) else None
    kind = dict if default is None else type(default)
    return values[0] if values and isinstance(values[0], kind) else {} if default is None else default

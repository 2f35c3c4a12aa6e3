"""Reading the two text files that come with the zoo's models, label_map.pbtxt and pipeline.config, without protocol buffers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[-+\w./]+) | (?P<mark>[:{}<>\[\],;]) | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

Message = dict[str, list]  # a field may stand several times; a value is a Message or a string


def read_text_format(path: str | Path) -> Message:
    """A protocol buffer in text form as nested dictionaries: every field is a list of strings or of such dictionaries.

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
    return _read_message(_Tokens(text, str(path)), end=None)


class _Tokens:
    """The words of a text, one after another."""

    def __init__(self, text: str, where: str):
        self.text, self.where, self.line = text, where, 1
        self.ahead = self._scan()
        self.current = next(self.ahead, None)

    def _scan(self) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _TOKEN.finditer(self.text):
            if match.lastgroup:
                yield match.lastgroup, match[0], line
            line += match[0].count("\n")

    def take(self) -> tuple[str, str]:
        if self.current is None:
            raise ValueError(f"{self.where}, line {self.line}: the file ends early, expected a closing bracket or a value.")
        kind, text, self.line = self.current
        self.current = next(self.ahead, None)
        return kind, text

    def next_is(self, *texts: str) -> bool:
        return self.current is not None and self.current[0] == "mark" and self.current[1] in texts

    def fail(self, found: str, expected: str) -> ValueError:
        return ValueError(f"{self.where}, line {self.line}: found '{found}', expected {expected}; check the file.")


def _read_message(tokens: _Tokens, end: str | None) -> Message:
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
    return ["".join(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), part[1:-1]) for part in parts)]


def read_label_map(path: str | Path) -> list[dict]:
    """The items of a label_map.pbtxt as COCO categories: `id`, `name`, `keypoints`, and `label`, which pipelines call the
    class.

    Raises:
        FileNotFoundError, ValueError: no such file, not in this form, or an item without id or name.
    """
    categories = []
    for item in read_text_format(path).get("item", []):
        names = [item[key][0] for key in ("display_name", "name") if item.get(key)]
        number = item.get("id", [""])[0]
        if not names or not number.isdigit() or number == "0":
            raise ValueError(f"{path}: found an item with id '{number}', names {names}, expected an id from 1 on and a name.")
        keypoints = [point.get("label", [""])[0] for point in item.get("keypoints", [])]
        categories.append({"id": int(number), "name": names[0], "label": names[-1], "keypoints": keypoints})
    if not categories:
        raise ValueError(f"{path}: found no item, expected a label map such as item {{ id: 1 name: 'person' }}.")
    return categories


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline.config says of the model: class count, image size (width, height), the class of each keypoint task."""

    path: Path
    num_classes: int | None
    image_size: tuple[int, int] | None
    task_classes: dict[str, str] = field(default_factory=dict)


def read_pipeline(path: str | Path) -> Pipeline:
    """The few fields of a pipeline.config that a conversion needs.

    Raises:
        FileNotFoundError, ValueError: no such file, not in this form, or of a model that is no CenterNet.
    """
    model = _first(read_text_format(path), "model")
    center_net = _first(model, "center_net")
    if not center_net:
        raise ValueError(f"{path}: found a model of {sorted(model) or 'no kind'}, expected model {{ center_net {{ ... }} }}.")
    tasks = center_net.get("keypoint_estimation_task", [])
    return Pipeline(
        Path(path),
        _read_int(center_net, "num_classes", path),
        _read_size(_first(center_net, "image_resizer"), path),
        {_first(task, "task_name", ""): _first(task, "keypoint_class_name", "") for task in tasks},
    )


def _read_size(resizer: Message, path: str | Path) -> tuple[int, int] | None:
    kept, fixed = _first(resizer, "keep_aspect_ratio_resizer"), _first(resizer, "fixed_shape_resizer")
    if kept:
        width = height = _read_int(kept, "max_dimension", path)
    else:
        width, height = (_read_int(fixed, side, path) for side in ("width", "height"))
    return (width, height) if width and height else None


def _read_int(message: Message, name: str, path: str | Path) -> int | None:
    text = _first(message, name, "")
    if text and not text.isdigit():
        raise ValueError(f"{path}: found {name} '{text}', expected a whole number; check the file.")
    return int(text) if text else None


def _first(message: Message, name: str, default=None):
    """The first value of a field; without it `default`, or an empty message."""
    values = message.get(name) if isinstance(message, dict) else None
    return values[0] if values else {} if default is None else default

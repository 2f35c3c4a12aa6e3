"""What a file that is no COCO dataset seems to be, and what to do about it: each answer is (found, remedy)."""

import json
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from centerkp.formats.label_studio import is_label_studio

_EXPORT_AGAIN = "export the labels again in COCO format"
_COMMENTS = ("//", "/*", "#")
# Comments, then JSON: settings and tables of other programs begin with a comment as well.
_COMMENTED = re.compile(r"((//|#)[^\n]*\n\s*|/\*.*?\*/\s*)+[{\[]", re.DOTALL)
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive", "unpack it and give the JSON inside"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the JSON inside"),
    (b"\x89HDF", "an HDF5 file as SLEAP and DeepLabCut write it", _EXPORT_AGAIN),
    (b"\x89PNG", "an image", "give the JSON that holds the labels"),
    (b"\xff\xd8\xff", "an image", "give the JSON that holds the labels"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with 'git lfs pull'"),
)


def recognise_bytes(path: Path, data: bytes, error: Exception) -> tuple[str, str]:
    """What a foreign file that is not JSON seems to be (YOLO, TFRecord, XML, ...), and what to do."""
    for signature, found, remedy in _SIGNATURES:
        if data.startswith(signature):
            return found, remedy
    text = data[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text:
        return "an empty file", _EXPORT_AGAIN
    if re.match(r"<!doctype html|<html", text, re.IGNORECASE):
        return "a web page, perhaps of a download that asked for a login", "download the file again"
    if text.startswith("<"):
        return "XML, as CVAT and Pascal VOC write it", _EXPORT_AGAIN
    first_record = int.from_bytes(data[:8], "little")  # a TFRecord starts with the length of its first record
    if "tfrecord" in path.name.lower() or path.suffix == ".record" or 0 < first_record <= len(data) - 16:
        return "a TFRecord", "give the COCO JSON that it was made from, or train on it with --tfrecord"
    if all(re.fullmatch(r"\d+(\s+[-+.\deE]+){4,}", line.strip()) for line in text.splitlines()[:3]):
        return "a YOLO label file (one line of numbers an object)", "give the folder of the label files, or their data.yaml"
    if text[0] in "{[" and isinstance(error, UnicodeDecodeError):
        return f"JSON in another encoding than UTF-8 ({error})", "save it as UTF-8, in Python with open(..., encoding='utf-8')"
    if isinstance(error, json.JSONDecodeError) and (text[0] in "{[" or _COMMENTED.match(text)):
        return _recognise_dialect(error)
    if isinstance(error, RecursionError):
        return f"JSON that is cut off or nested too deeply ({error})", "export or copy it again"
    return f"no JSON at all ({error})", _EXPORT_AGAIN


def _recognise_dialect(error: json.JSONDecodeError) -> tuple[str, str]:
    """What a foreign text that only looks like JSON is, and what to do; it is called cut off only where it just ends."""
    before, rest = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip("\ufeff \t\r\n")
    line = f"line {error.lineno}"
    if _holds_json_lines(error.doc):
        return "JSON lines, one object in each line", _EXPORT_AGAIN
    if rest.startswith(_COMMENTS):
        return f"JSON with a comment ({line})", "delete the comments"
    if re.match(r",\s*[}\]]", rest) or (before.endswith(",") and rest.startswith(("}", "]"))):
        return f"JSON with a comma behind the last entry ({line})", "delete that comma"
    if rest.startswith("'") or re.match(r"(True|False|None|array\(|nan)\b", rest):
        return f"a printed Python object ({line})", "write it as JSON, in Python with json.dump"
    if not rest or error.msg.startswith("Unterminated string"):
        return f"JSON that is cut off ({error})", "export or copy it again"
    return f"JSON with a mistake ({error})", "mend that line, or export the labels again"


def _holds_json_lines(text: str) -> bool:
    """Whether a foreign text holds one JSON object or list in each line."""
    lines = [line for line in islice(text.splitlines(), 20) if line.strip()][:2]
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict | list) for line in lines)
    except (ValueError, RecursionError):
        return False


def recognise_list(content: Any) -> tuple[str, str]:
    """What a foreign JSON that is not an object seems to be, and what to do."""
    if not isinstance(content, list):
        return f"JSON with nothing but one {type(content).__name__}", _EXPORT_AGAIN
    keys = set(content[0]) if content and isinstance(content[0], Mapping) else set()
    if {"image_id", "category_id", "score"} <= keys:
        return "a COCO results file (predictions with scores)", "give the dataset's own JSON, with the labels"
    if {"image_id", "category_id"} <= keys:
        return "the 'annotations' list of a COCO dataset alone", "give the whole dataset"
    if is_label_studio(content):
        return "a Label Studio task list", _EXPORT_AGAIN
    if {"annotator", "annotation_id", "lead_time"} <= keys:
        return "JSON-MIN of Label Studio, which does not say what is tied to what", "export the labels again as JSON"
    return f"a JSON list of {len(content)} entries", _EXPORT_AGAIN


def recognise_object(content: dict, lacking: list[str]) -> tuple[str, str]:
    """What a foreign JSON object without COCO's lists seems to be (labelme, VIA, ...), and what to do."""
    first = next(iter(content.values()), None)
    if {"shapes", "imagePath"} <= set(content):
        return "a labelme file of one image", "convert the folder of labelme files into one COCO JSON"
    if "_via_img_metadata" in content or (isinstance(first, Mapping) and {"regions", "filename"} <= set(first)):
        return "a project of the VGG Image Annotator (VIA)", _EXPORT_AGAIN
    if is_label_studio(content):
        return "a Label Studio task", _EXPORT_AGAIN
    keys = ", ".join(repr(key) for key in list(content)[:10]) or "none"
    return f"a JSON object without the list {' and '.join(map(repr, lacking))} (its keys: {keys})", _EXPORT_AGAIN

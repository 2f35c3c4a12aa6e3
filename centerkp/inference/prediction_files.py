"""`predictions.json` and `predictions.csv`, written row by row, so that their length costs no memory."""

import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from centerkp.results import ROW_COLUMNS, Detection, coco_dataset, to_annotation, to_rows
from centerkp.schema import Schema
from centerkp.writing import claim_part, mark, remove_part, says

# As `results.to_rows`, and for videos the position and time of the frame, and the object's number through the video.
COLUMNS = ("image", "frame", "seconds", "object", "track", *ROW_COLUMNS[2:])
# The end of predictions.json: whoever works on the file changes what the digest is of, and then it is his.
_SEAL = '"made_by": "{}", "sha256": "{}"}}}}\n'
_SEALED = re.compile(re.escape(_SEAL.format(mark("infer"), "#")).replace(r"\#", "([0-9a-f]{64})").encode() + rb"\Z")


class CocoFile:
    """A COCO dataset that grows. It stands under its name after `close`, which makes it valid JSON at any time.

    Args:
        smoothed: objects with a track number have their boxes and keypoints smoothed over time, which `info` says.
    """

    def __init__(self, path: str | Path, schema: Schema, smoothed: bool = False):
        self.path = Path(path)
        self.part = claim_part(self.path)
        self.image_count = self.annotation_count = 0
        self._head = coco_dataset([], [], schema)
        if smoothed:
            self._head["info"]["smoothed"] = "boxes and keypoints of objects with a track_id, over time"
        # The name of a file may be bytes that are no letters; as Python writes them, JSON reads them.
        text: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}
        self._annotations = open(self.part, "w", **text)
        # COCO keeps images and annotations in two lists, so that one of them must wait elsewhere for its turn.
        self._images = tempfile.TemporaryFile("w+", **text, dir=self.path.parent)
        self._annotations.write('{"annotations": [')

    def add(self, image: Mapping, detections: Sequence[Detection], tracks: Sequence[int] = ()) -> None:
        """Adds an image to predictions.json (`file_name`, `width`, `height`) and its objects, with track numbers if any."""
        self.image_count += 1
        self._write_row(self._images, self.image_count, {"id": self.image_count, **image})
        for row, detection in enumerate(detections):
            self.annotation_count += 1
            annotation = to_annotation(detection, self.image_count, self.annotation_count)
            self._write_row(
                self._annotations, self.annotation_count, annotation | ({"track_id": tracks[row]} if tracks else {})
            )

    @staticmethod
    def _write_row(file: TextIO, count: int, row: Mapping) -> None:
        """Appends one row to the list of images or of annotations of predictions.json."""
        # One call, so that the file never ends within a row.
        file.write(("," if count > 1 else "") + "\n" + json.dumps(row, ensure_ascii=False))

    def close(self) -> Path:
        """Completes predictions.json and returns its path.

        Raises:
            OSError: it cannot be written whole; what stood under the name before remains.
        """
        try:
            with self._annotations as file, self._images as images:
                file.write('],\n"images": [')
                images.seek(0)
                shutil.copyfileobj(images, file)
                rest = {name: self._head[name] for name in ("licenses", "categories", "info")}
                file.write("],\n" + json.dumps(rest, ensure_ascii=False)[1:-2] + ", ")
                file.flush()
                with open(self.part, "rb") as whole:
                    digest = hashlib.file_digest(whole, "sha256").hexdigest()
                file.write(_SEAL.format(mark("infer"), digest))
            os.replace(self.part, self.path)
        finally:
            remove_part(self.part)
        return self.path


def is_untouched(path: Path) -> bool:
    """Whether a file is a predictions.json as `CocoFile` left it, and nobody has worked on it since."""
    try:
        with open(path, "rb") as file:
            end = file.seek(max(file.seek(0, os.SEEK_END) - 1024, 0))
            match = _SEALED.search(file.read())
            if match is None:
                return False
            file.seek(0)
            digest, left = hashlib.sha256(), end + match.start()
            while block := file.read(min(left, 1 << 20)):
                digest.update(block)
                left -= len(block)
    except OSError:
        return False
    return digest.hexdigest().encode() == match[1]


def is_own(path: Path) -> bool:
    """Whether an earlier run wrote this output; not so of predictions that somebody has worked on since."""
    return is_untouched(path) if path.suffix == ".json" else says(path, mark("infer"), ",".join(COLUMNS))


class CsvFile:
    """A table with one row per object and keypoint (`COLUMNS`); an object without keypoints has one row."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.part = claim_part(self.path)
        self._file = open(self.part, "w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()

    def add(self, image: Mapping, detections: Sequence[Detection], tracks: Sequence[int] = ()) -> None:
        """Adds an image's objects to predictions.csv, a row per object and keypoint; arguments as `CocoFile.add`."""
        rows = to_rows(image["file_name"], detections)
        for row in rows:
            row |= {name: round(value, 4) for name, value in row.items() if isinstance(value, float)}
            row |= {name: image.get(name) for name in ("frame", "seconds")}
            row["track"] = tracks[row["object"] - 1] if tracks else None
        self._writer.writerows(rows)

    def close(self) -> Path:
        """Completes predictions.csv and returns its path; raises OSError when it cannot be written whole."""
        try:
            self._file.close()
            os.replace(self.part, self.path)
        finally:
            remove_part(self.part)
        return self.path

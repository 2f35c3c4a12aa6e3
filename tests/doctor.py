"""Examines small COCO files, and picks what was found by its words."""

import json
from pathlib import Path

from centerkp.doctor.check import Checkup, check_dataset
from centerkp.doctor.findings import Finding


def write(folder: Path, content: dict, name: str = "ann.json") -> Path:
    """The content as a JSON in the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def check(folder: Path, content: dict, **options) -> Checkup:
    """Writes the content and examines it without its images."""
    return check_dataset(write(folder, content), open_images=False, **options)


def found(checkup: Checkup, text: str) -> list[Finding]:
    """The findings whose title holds the text."""
    return [f for f in checkup.findings if text in f.title]

"""Suspects as a page: each label beside what was found there, the worst first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from centerkp.drawing.pictures import draw_detections, draw_record
from centerkp.images.reading import read_image
from centerkp.labels.content import list_words
from centerkp.labels.records import Record
from centerkp.report.page import MAX_SIDE, Finding, Page, Picture
from centerkp.review.judged import Judged
from centerkp.review.suspects import KINDS, Suspect
from centerkp.wording import count_of

SHOWN = 60  # suspects with pictures
MARGIN = 0.4  # around what is shown, as a share of its longer side


def write_review_page(judged: Judged, suspects: Sequence[Suspect], out: Path, path: str | Path) -> Path:
    """Writes the HTML page of a review: how many suspects of which kind, and pictures of the first sixty.

    Args:
        out: where the file of suspects stands, which the page names.
    """
    records = judged.dataset.records
    objects = sum(int((~r.is_crowd).sum()) for r in records)
    title = f"Review of {judged.dataset.path.name}"
    page = Page(title, f"{count_of(len(records), 'image')}, {count_of(objects, 'labelled object')}", "review")
    page.add_section("Suspects", "How probably each label is wrong, by what a model found in its place.")
    page.add_findings([Finding("note", sentence) for sentence in (judged.witness, *judged.notes)])
    counts = Counter(s.kind for s in suspects)
    page.add_table(("kind", "suspects"), [(text, str(counts[kind])) for kind, text in KINDS.items()])
    shown = suspects[:SHOWN]
    text = (
        f"Label at the left, prediction at the right. To correct labels, turn 'accept' to true at their ids in {out}, and run "
        f"centerkp review --coco {list_words(judged.dataset.path)} --accept {list_words(out)} --fix NEW.json."
    )
    page.add_section(f"The first {len(shown)} of {len(suspects)}" if shown else "Nothing is suspicious", text if shown else "")
    pictures = [_draw_suspect(number, s, records[s.row], judged) for number, s in enumerate(shown, 1)]
    page.add_pictures(pictures, cell_width=460)
    return page.write(path)


def describe_suspect(suspect: Suspect, record: Record) -> str:
    """A suspect in words, as in "a.jpg, id 12: left_ear far off (0.93)"."""
    name = "" if suspect.index is None else f", id {record.annotation_ids[suspect.index]}"
    return f"{record.file_name}{name}: {suspect.reason} ({suspect.score:.2f})"


def _draw_suspect(number: int, suspect: Suspect, record: Record, judged: Judged) -> Picture:
    """The labels around a suspect beside what was found there, cut out of the image."""
    boxes = suspect.found.box_xyxy[None]
    if suspect.index is not None:
        boxes = np.concatenate([boxes, record.boxes_xyxy[suspect.index, None]])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    margin = MARGIN * (high - low).max() + 8
    x0, y0 = np.maximum(low - margin, 0).astype(int)
    x1, y1 = np.minimum(high + margin, (record.width, record.height)).astype(int)
    cut = read_image(record.path, record.levels)[y0:y1, x0:x1]
    factor = MAX_SIDE / max(cut.shape[:2])  # small objects are enlarged, so that points can be told apart
    cut = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    corner = np.array([x0, y0])
    boxes, points = (record.boxes_xyxy - np.tile(corner, 2)) * factor, (record.keypoints_xy - corner) * factor
    near = ((boxes[:, 2:] > 0) & (boxes[:, :2] < cut.shape[1::-1])).all(1)
    rows = boxes[near], record.class_ids[near], points[near], record.visibility[near]
    label = draw_record(cut, *rows, schema=judged.dataset.schema)
    found = replace(
        suspect.found,
        box_xyxy=(suspect.found.box_xyxy - np.tile(corner, 2)) * factor,
        keypoints_xy=(suspect.found.keypoints_xy - corner) * factor,
    )
    prediction = draw_detections(cut, [found], judged.dataset.schema)
    return Picture([label, prediction], f"{number}. {describe_suspect(suspect, record)}", ("label", "prediction"))

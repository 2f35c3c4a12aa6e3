"""What is wrong with the boxes: order of the numbers, size, place, area, objects labelled twice."""

from dataclasses import replace

import numpy as np

from centerkp import geometry
from centerkp.doctor.findings import Finding
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels, make_object_finding
from centerkp.wording import quote

FAR_OVER = 0.25  # share of the box outside the image from which a clipped box is not rounding any more


def check_boxes(labels: Labels, reading: Reading) -> list[Finding]:
    """The doctor's findings about boxes, the most important first; whole-file mistakes come before single boxes."""

    def tell(level: str, title: str, mask: np.ndarray, remedy: str) -> list[Finding]:
        where = np.flatnonzero(mask)

        def box(n: int) -> str:
            return f"bbox {quote(reading.content['annotations'][labels.rows[where[n]]].get('bbox'))}"

        return make_object_finding(labels, reading, level, title, where, box, remedy=remedy)

    findings = []
    if labels.are_corners:
        title = "boxes written as x0, y0, x1, y1 where COCO has x, y, width, height"
        found = tell("mendable", title, ~labels.missing, "--fix turns them; unmended, every box would be read too large")
        findings += [replace(finding, is_misread=True) for finding in found]
    unusable, rebuilt = ~labels.has_box, labels.rebuilt
    from_points = "read from the labelled keypoints; --fix --boxes-from-keypoints writes them"
    kinds = (("missing", labels.missing), ("of zero or negative size", labels.flat), ("outside the image", labels.away))
    for kind, mask in kinds:
        findings += tell("mendable", f"box {kind}, rebuilt from the keypoints", mask & rebuilt, from_points)
    for kind, mask in kinds:
        left_out = "left out of training: label them again, or --fix --drop leaves them out"
        findings += tell("suspicious", f"box {kind}, and no two keypoints to rebuild it from", mask & unusable, left_out)
    over = labels.clipped & (share_outside(labels) > FAR_OVER)
    findings += tell(
        "suspicious", "box reaches far over the image border", over, "clipped; check that it is in pixels, x first"
    )
    findings += tell("mendable", "box reaches over the image border", labels.clipped & ~over, "clipped, as --fix writes it")
    findings += tell(
        "mendable", "object labelled twice, all numbers alike", labels.is_repeated, "--fix leaves the second one out"
    )
    lacking = labels.has_box & (labels.areas <= 0)
    findings += tell("mendable", "'area' missing or zero", lacking, "the box's area is used, and written by --fix")
    return findings + _check_relative(labels)


def share_outside(labels: Labels) -> np.ndarray:
    """(N,) which part of each label's box lies outside its image, to find boxes that reach far over the border."""
    whole = geometry.box_areas(np.nan_to_num(labels.whole_xyxy))
    inside = geometry.box_areas(np.nan_to_num(labels.boxes_xyxy))
    return 1 - np.divide(inside, whole, out=np.ones_like(whole), where=whole > 0)


def _check_relative(labels: Labels) -> list[Finding]:
    """Findings about boxes whose coordinates go from 0 to 1 in a file that should hold pixels."""
    boxes = labels.whole_xyxy[~labels.missing]
    large = (labels.sizes > 16).all(1).any()
    if len(boxes) < 3 or not large or np.abs(boxes).max() > 1.5:
        return []
    remedy = "multiply x and widths by the image's width, y and heights by its height"
    return [Finding("unusable", "coordinates are shares of the image (0 to 1), COCO has pixels", len(boxes), remedy=remedy)]

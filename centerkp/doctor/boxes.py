"""What is wrong with the boxes: size, place, area, objects labelled twice."""

from typing import Any

import numpy as np

from centerkp import geometry
from centerkp.doctor.findings import Finding
from centerkp.doctor.masks import is_of_other_size
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels, make_object_finding
from centerkp.wording import quote

FAR_OVER = 0.25  # share of the box outside the image from which a clipped box is not rounding any more


def check_boxes(labels: Labels, reading: Reading) -> list[Finding]:
    """The doctor's findings about boxes, the most important first."""

    def tell(level: str, title: str, mask: np.ndarray, remedy: str) -> list[Finding]:
        where = np.flatnonzero(mask)

        def box(n: int) -> str:
            return f"bbox {quote(reading.content['annotations'][labels.rows[where[n]]].get('bbox'))}"

        return make_object_finding(labels, reading, level, title, where, box, remedy=remedy)

    findings = _check_masks(labels, reading)
    unusable, rebuilt = ~labels.has_box, labels.rebuilt
    from_points = (
        f"made around the labelled keypoints, with a margin of {geometry.POINT_MARGIN:.0%} of their longer side, or "
        "--point-box large around one; --fix --boxes-from-keypoints writes them"
    )
    kinds = (("missing", labels.missing), ("of zero or negative size", labels.flat), ("outside the image", labels.away))
    for kind, mask in kinds:
        findings += tell("mendable", f"box {kind}, made around the keypoints", mask & rebuilt, from_points)
    for kind, mask in kinds:
        left_out = "left out of training: label them again, or --fix --drop leaves them out"
        one = labels.rows.size and (labels.visibility[mask & unusable] > 0).any()
        left_out += "; --point-box SIZE makes boxes around single keypoints" if one else ""
        title = f"box {kind}, with neither a usable mask nor two keypoints to make it of"
        findings += tell("suspicious", title, mask & unusable, left_out)
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
    return findings


def _check_masks(labels: Labels, reading: Reading) -> list[Finding]:
    """The doctor's finding about objects whose box could have come from their mask, were it one of their image."""

    def mask(n: int) -> Any:
        return reading.content["annotations"][labels.rows[n]].get("segmentation")

    def sides(n: int) -> list[int]:
        return reading.sizes[labels.image_rows[n]].astype(int).tolist()

    boxless = np.flatnonzero(labels.missing | labels.flat).tolist()
    other = np.array([n for n in boxless if is_of_other_size(mask(n), *sides(n))], np.int64)

    def sizes(n: int) -> str:
        height_width = quote(mask(int(other[n]))["size"])
        return f"height and width {height_width} of the mask, {sides(int(other[n]))[::-1]} of the image"

    title = "no box, and a mask of another size than its image's, not used"
    return make_object_finding(
        labels, reading, "suspicious", title, other, sizes, remedy="export the masks at the images' size"
    )


def share_outside(labels: Labels) -> np.ndarray:
    """(N,) which part of each label's box lies outside its image, to find boxes that reach far over the border."""
    whole = geometry.box_areas(np.nan_to_num(labels.whole_xyxy))
    inside = geometry.box_areas(np.nan_to_num(labels.boxes_xyxy))
    return 1 - np.divide(inside, whole, out=np.ones_like(whole), where=whole > 0)

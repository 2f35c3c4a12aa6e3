"""Files whose numbers mean something else than COCO's: order and unit of boxes and keypoints, image ids shifted by one."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from centerkp.doctor.findings import Finding, make_finding
from centerkp.doctor.reader import Reading, faultless_rows
from centerkp.labels.tables import read_integer
from centerkp.wording import quote

LEAST = 5  # objects; from fewer nobody can tell what numbers mean, unless the areas of their boxes do
SAMPLE = 500  # objects that readings are tried on
BOX_MARGIN = 0.1  # of the box's longer side: how far a keypoint may lie outside before it is counted
AGREEING = 0.99  # share of objects that the right reading makes agree
CONTRADICTING = 0.1  # share of objects, and 3 of them, from which other readings are looked for
MOST = 0.5  # share of objects that contradict themselves from which a file is in vain
_ORDERS = {
    "size": ("x, y, width, height", "y, x, height, width"),
    "corners": ("x0, y0, x1, y1", "y0, x0, y1, x1"),
    "center": ("center x, center y, width, height", "center y, center x, height, width"),
}


@dataclass(frozen=True)
class Meaning:
    """One way to read a file's numbers; without arguments COCO's, (x, y, width, height) and (x, y) in pixels of the image.

    `box` is "size", "corners" or "center"; `shift` is what has to be added to the annotations' image ids.
    """

    box: str = "size"
    box_y_first: bool = False
    box_shares: bool = False
    points_y_first: bool = False
    points_shares: bool = False
    points_in_box: bool = False
    shift: int = 0

    @property
    def cost(self) -> int:
        """How far the reading departs from COCO; of those that make everything agree, a single nearest one is certain.

        Points relative to their box agree with any box, and so count only where no place in the image does. Shares have no
        usual order of numbers; corners may then have y first, as TensorFlow's, which nothing contradicts. Nobody is known to
        write other shares with y first throughout, which nothing would contradict either.
        """
        free = self.box_shares and self.box == "corners"
        y_first = self.points_y_first and not self.box_y_first if free else self.points_y_first + self.box_y_first
        return (self.box != "size" and not self.box_shares) + y_first + 2 * self.points_in_box + abs(self.shift)

    def describe(self) -> str:
        """The reading in words, as in "boxes written as x0, y0, x1, y1 where COCO has x, y, width, height"."""
        parts = []
        if self.box != "size" or self.box_y_first or self.box_shares:
            unit, coco = (" in shares of the image (0 to 1)", " in pixels") if self.box_shares else ("", "")
            parts.append(
                f"boxes written as {_ORDERS[self.box][self.box_y_first]}{unit} where COCO has {_ORDERS['size'][0]}{coco}"
            )
        if self.points_y_first or self.points_shares or self.points_in_box:
            frame = "box" if self.points_in_box else "image"
            unit = f"shares of the {frame} (0 to 1)" if self.points_shares else f"pixels of the {frame}"
            order = "y, x" if self.points_y_first else "x, y"
            parts.append(f"keypoints written as {order} in {unit} where COCO has x, y in pixels of the image")
        if self.shift:
            parts.append("image ids shifted by one, so that every label is on another picture")
        return "; ".join(parts)

    def read(self, boxes: np.ndarray, points: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) and points (N, K, 2) as written, in images of `sizes` (N, 2), as xyxy and xy in pixels of the image."""
        boxes = boxes[:, [1, 0, 3, 2]] if self.box_y_first else boxes
        points = points[..., ::-1] if self.points_y_first else points
        boxes = boxes * np.tile(sizes, 2) if self.box_shares else boxes
        first, second = boxes[:, :2], boxes[:, 2:]
        if self.box == "size":
            second = first + second
        elif self.box == "center":
            first, second = first - second / 2, first + second / 2
        if self.points_in_box:
            points = first[:, None] + points * ((second - first)[:, None] if self.points_shares else 1)
        elif self.points_shares:
            points = points * sizes[:, None]
        return np.concatenate([first, second], 1), points


COCO = Meaning()


@dataclass(frozen=True, eq=False)
class Judgement:
    """How a file's numbers are meant: `meaning`, COCO's own where no other is certain.

    Of `judged` objects `contradicting` contradict their pictures or themselves as they are written; `candidates` are readings
    between which nothing decides. `shares` says that boxes go from 0 to 1.
    """

    meaning: Meaning = COCO
    judged: int = 0
    contradicting: int = 0
    candidates: tuple[Meaning, ...] = ()
    shares: bool = False

    @property
    def is_in_vain(self) -> bool:
        """Whether most objects contradict themselves and nobody knows how they are meant."""
        most = self.judged >= LEAST and self.contradicting > MOST * self.judged
        return self.meaning == COCO and (most or self.shares)


def agree(meaning: Meaning, boxes: np.ndarray, points: np.ndarray, labelled: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool: objects whose box, read so, lies in its image and holds its labelled keypoints.

    Args:
        boxes: (N, 4) as written, NaN where there is none; then the points have to be in the image.
        sizes: (N, 2) of the images.
    """
    xyxy, xy = meaning.read(boxes, points, sizes)
    border = 0.01 * sizes + 1
    sides = xyxy[:, 2:] - xyxy[:, :2]
    fits = (sides >= 0.5).all(1) & (xyxy[:, :2] >= -border).all(1) & (xyxy[:, 2:] <= sizes + border).all(1)
    margin = (BOX_MARGIN * sides.max(1) + 1)[:, None, None]
    in_box = ((xy >= xyxy[:, None, :2] - margin) & (xy <= xyxy[:, None, 2:] + margin)).all(-1) | ~labelled
    in_image = ((xy >= -border[:, None]) & (xy <= (sizes + border)[:, None])).all(-1) | ~labelled
    return np.where(np.isfinite(boxes).all(1), fits & in_box.all(1), in_image.all(1))


def judge_meaning(reading: Reading, sizes: np.ndarray) -> Judgement:
    """Judges how the numbers of a file are meant: the one reading that makes all objects agree, where COCO's does not.

    Args:
        sizes: (n, 2) of the images in the frame of the labels, 0 where unknown.
    """
    if reading.annotations is None:
        return Judgement()
    shifted = _judge_shift(reading, sizes)
    if shifted:
        return shifted
    a, rows = reading.annotations, np.flatnonzero(faultless_rows(reading))
    has_box, flat = np.isfinite(a.boxes_xywh[rows]).all(1), (a.boxes_xywh[rows, 2:] <= 0).any(1)
    said = ~a.is_crowd[rows] & ~flat & (has_box | (a.visibility[rows] > 0).any(1)) & (sizes[a.image_rows[rows]] > 0).all(1)
    corners = _are_boxes_corners(a.boxes_xywh[rows], a.areas[rows], sizes[a.image_rows[rows]])
    rows = rows[said]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(int)]
    objects = a.boxes_xywh[rows], a.keypoints_xy[rows], a.visibility[rows] > 0, sizes[a.image_rows[rows]]
    wrong = int((~agree(COCO, *objects)).sum())
    shares = are_shares(objects[0][np.isfinite(objects[0]).all(1)], objects[3])
    if not len(rows) or not (corners or shares) and (len(rows) < LEAST or wrong < max(3, CONTRADICTING * len(rows))):
        return Judgement(Meaning("corners") if corners else COCO, len(rows), wrong)
    possible = _list_meanings(*objects, ("corners",) if corners else tuple(_ORDERS))
    fitting = sorted((m for m in possible if m != COCO and agree(m, *objects).mean() >= AGREEING), key=lambda m: m.cost)
    nearest = tuple(m for m in fitting if m.cost == fitting[0].cost)
    if len(nearest) == 1:
        return Judgement(nearest[0], len(rows), wrong)
    return Judgement(Meaning("corners") if corners and not nearest else COCO, len(rows), wrong, nearest, shares)


def _list_meanings(
    boxes: np.ndarray, points: np.ndarray, labelled: np.ndarray, sizes: np.ndarray, orders: tuple[str, ...]
) -> list[Meaning]:
    """The readings that are possible for some objects: the unit is told by how large the numbers are."""
    known = np.isfinite(boxes).all(1)
    box_shares, points_shares = are_shares(boxes[known], sizes), are_shares(points[labelled], sizes)
    both, no = (False, True), (False,)
    box_ways = product(orders, both) if known.any() else [("size", False)]
    point_ways = list(product(both, both if known.any() else no)) if labelled.any() else [(False, False)]
    return [Meaning(*box, box_shares, point[0], points_shares, point[1]) for box, point in product(box_ways, point_ways)]


def are_shares(numbers: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether coordinates (n, ...) go from 0 to 1 in images of `sizes` (N, 2) that have far more pixels."""
    return len(numbers) >= 3 and bool((sizes > 16).all(1).any()) and float(np.abs(numbers).max()) <= 1.5


def _judge_shift(reading: Reading, sizes: np.ndarray) -> Judgement | None:
    """Whether the annotations' image ids are those of the images plus or minus one; None where nothing says so.

    Either the ids run over the same range but for one, and some name no image as they stand; or as they stand labels on three
    pictures or more do not fit those, and they all fit the neighbours.
    """
    a, known = reading.annotations, {number: row for row, number in enumerate(reading.image_ids) if number is not None}
    ids = [read_integer(entry.get("image_id")) for entry in reading.content["annotations"]]
    named = {number for number in ids if number is not None}
    if len(known) < 3 or len(named) < 3 or len(ids) != len(a.ids):
        return None
    usable = (a.class_ids >= 0) & ~a.is_crowd

    def fits(shift: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array([-1 if number is None else known.get(number + shift, -1) for number in ids])
        own = np.where((sizes[rows] > 0).all(1)[:, None], sizes[rows], np.inf)
        return rows, (rows >= 0) & agree(COCO, a.boxes_xywh, a.keypoints_xy, a.visibility > 0, own) | ~usable

    rows, before = fits(0)
    out = np.unique(rows[~before & (rows >= 0)])
    for shift in (1, -1):
        if any(number + shift not in known for number in named) or not fits(shift)[1].mean() >= AGREEING:
            continue
        as_a_whole = named - known.keys() and {min(named) + shift, max(named) + shift} == {min(known), max(known)}
        if as_a_whole or len(out) >= max(3, CONTRADICTING * len(named)):
            return Judgement(Meaning(shift=shift), len(ids), int((~before).sum()))
    return None


def _are_boxes_corners(boxes: np.ndarray, areas: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether boxes of labels hold corners: as sizes they would exceed every position and overshoot.

    Read as width and height, corners are greater than the first two numbers without exception, never leave the image on
    their own, and reach over its border when added; and an `area` that the exporter wrote tells at once.
    """
    known = np.isfinite(boxes).all(1)
    boxes, areas, sizes = boxes[known], areas[known], np.where(sizes > 0, sizes, np.inf)[known]
    if not len(boxes):
        return False
    first, second = boxes[:, :2], boxes[:, 2:]
    if not ((second > first).all(1) & (second <= sizes + 1).all(1)).mean() >= 0.99:
        return False
    over = (first + second > sizes * 1.01 + 1).any(1)
    told = areas > 0
    # An area can be that of a mask, never larger than its box: only the box itself fits it exactly.
    as_corners = np.isclose(areas, (second - first).prod(1), rtol=0.02)
    as_size = np.isclose(areas, second.prod(1), rtol=0.02)
    if told.mean() >= 0.5 and (as_size & told).sum() >= 0.5 * told.sum():
        return False
    if told.mean() >= 0.5 and (as_corners & told).sum() >= 0.9 * told.sum():
        return bool((first > 1).any())
    return bool(len(boxes) >= LEAST and over.mean() >= 0.2)


def check_meaning(reading: Reading, judgement: Judgement) -> list[Finding]:
    """The finding about what the numbers of a whole file mean, or that nobody knows; none where they mean what COCO says."""
    meaning, entries = judgement.meaning, reading.content["annotations"]
    boxes_differ = meaning.describe().startswith("boxes")

    def place(row: int) -> str:
        key = "image_id" if meaning.shift else "bbox" if boxes_differ or meaning == COCO else "keypoints"
        return f"{reading.label_annotation(row)}: {key} {quote(entries[row].get(key))}"

    if meaning != COCO:
        title = meaning.describe() if not meaning.shift else _describe_shift(reading)
        rows = range(len(entries)) if not boxes_differ else np.flatnonzero(np.isfinite(reading.annotations.boxes_xywh).all(1))
        remedy = "--fix writes them as COCO has them; unmended, training would be in vain"
        return make_finding("mendable", title, rows, place=place, remedy=remedy, is_misread=True)
    if not judgement.is_in_vain:
        return []
    title = f"contradict their pictures or themselves, most of the {judgement.judged} looked at"
    if judgement.shares:
        title = f"coordinates are shares of the image (0 to 1), COCO has pixels; {title}"
    if len(judgement.candidates) > 1:
        ways = " or ".join(one.describe() for one in judgement.candidates)
        remedy = f"nothing decides whether these are {ways}: write them as COCO has them"
    else:
        remedy = "no order, unit or frame of the numbers makes them agree: look at the pictures, and export the labels again"
    return [Finding("unusable", title, judgement.contradicting, "annotation", remedy)]


def _describe_shift(reading: Reading) -> str:
    """A shift of image ids in words, with the ranges of both lists."""
    named = [read_integer(entry.get("image_id")) for entry in reading.content["annotations"]]
    named = [number for number in named if number is not None]
    known = [number for number in reading.image_ids if number is not None]
    return (
        f"the image ids of the annotations run from {min(named)} to {max(named)}, those of the images from {min(known)} to "
        f"{max(known)}: shifted by one, so every label is on another picture"
    )


def write_as_coco(reading: Reading, meaning: Meaning, sizes: np.ndarray) -> dict:
    """The content of a file with its numbers written as COCO has them; `sizes` as in `judge_meaning`."""
    a = reading.annotations
    own = np.where(a.image_rows[:, None] >= 0, sizes[a.image_rows], 0)
    boxes, points = meaning.read(a.boxes_xywh, a.keypoints_xy, own)
    boxes[:, 2:] -= boxes[:, :2]
    entries = []
    for row, entry in enumerate(reading.content["annotations"]):
        entry = dict(entry)
        if meaning.shift and (number := read_integer(entry.get("image_id"))) is not None:
            entry["image_id"] = number + meaning.shift
        if np.isfinite(boxes[row]).all() and not meaning.shift:
            entry["bbox"] = boxes[row].round(3).tolist()
            _write_area(entry, boxes[row], a.areas[row])
        if (a.visibility[row] > 0).any() and not meaning.shift:
            entry["keypoints"] = _write_points(entry["keypoints"], reading, row, points[row])
        entries.append(entry)
    return {**reading.content, "annotations": entries}


def _write_area(entry: dict, box: np.ndarray, area: float) -> None:
    """Writes the area of a box written as COCO has it, where that of the file cannot be one in it: other units, other sides."""
    whole = float(box[2] * box[3])
    if area > 0 and not 0.01 * whole < area <= 1.02 * whole:
        entry["area"] = round(whole, 3)


def _write_points(vector: list, reading: Reading, row: int, points: np.ndarray) -> list:
    """A keypoint vector with the labelled points (K, 2) of one annotation written as COCO has them.

    Points relative to a box that is not there have no place, and are no longer labelled.
    """
    own = reading.schema.keypoint_slice(int(reading.annotations.class_ids[row]))
    vector = list(vector)
    for number, k in enumerate(range(own.start, own.stop)):
        if reading.annotations.visibility[row, k]:
            known = np.isfinite(points[k]).all()
            vector[3 * number : 3 * number + (2 if known else 3)] = points[k].round(3).tolist() if known else [0, 0, 0]
    return vector

"""The doctor's report as one page: findings with the pictures that show them, numbers, and samples of the labels."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from centerkp.doctor.check import Checkup
from centerkp.doctor.findings import Finding as DataFinding
from centerkp.doctor.statistics import EDGES, SMALL_CELLS
from centerkp.doctor.verdict import verdict
from centerkp.drawing.pictures import draw_record
from centerkp.images.reading import read_image
from centerkp.report.charts import draw_columns
from centerkp.report.dataset_text import describe_dataset, keypoint_cells
from centerkp.report.page import Bar, Finding, Page, Picture
from centerkp.wording import name_canvas

SEVERITIES = {"unusable": "error", "mendable": "warning", "suspicious": "warning", "advice": "note", "note": "note"}
EXAMPLES = 6  # pictures for each finding
SAMPLES = 24  # images of the dataset as it is labelled
CHARTS = 12  # classes whose box sizes are drawn
MAX_SIDE = 640  # pixels of a picture before it is drawn on
MARGIN = 0.6  # around an object that a finding is about, as a share of its longer side


def write_dataset_page(checkup: Checkup, path: str | Path) -> Path:
    """Writes the HTML page of one dataset that the doctor examined, and returns its path.

    Pictures are read from the image files; a checkup that did not look at them gives a page without.
    """
    page = Page(f"Dataset {checkup.path.name}", " · ".join([*describe_dataset(checkup), str(checkup.path)]), "check")
    page.add_section("Findings", verdict(checkup.findings))
    _add_tiles(page, checkup)
    findings = [_to_page_finding(finding) for finding in checkup.findings]
    page.add_findings(findings or [Finding("ok", "Nothing is wrong and nothing to advise.")])
    gallery = _Gallery(checkup)
    _add_examples(page, gallery, _Gallery(checkup.val) if checkup.val else gallery)
    if checkup.statistics is not None:
        _add_classes(page, checkup)
        _add_keypoint_counts(page, checkup)
    _add_samples(page, checkup, gallery)
    return page.write(path)


def _to_page_finding(finding: DataFinding) -> Finding:
    """One of the doctor's findings as the dataset page shows it."""
    hidden = len(finding.rows) - len(finding.places) if finding.places else 0
    more = [f"and {hidden} more"] if hidden > 0 else []
    severity = "error" if finding.is_misread else SEVERITIES[finding.level]
    return Finding(severity, finding.headline, [*finding.places, *more], finding.remedy)


def _add_tiles(page: Page, checkup: Checkup) -> None:
    """The first numbers of the dataset page: images, objects, findings."""
    statistics = checkup.statistics
    if statistics is None:
        return
    objects = int(statistics.objects.sum())
    images = checkup.reading.num_images
    tiles = [
        ("images", str(images), f"{objects / max(images, 1):.1f} objects each"),
        ("objects", str(objects), f"and {statistics.crowds.sum()} crowd regions" if statistics.crowds.any() else ""),
        ("classes", str(checkup.schema.num_classes), ""),
    ]
    if checkup.schema.num_keypoints:
        labelled = int((statistics.visible + statistics.occluded).sum())
        tiles.append(("labelled keypoints", str(labelled), f"of {checkup.schema.num_keypoints} kinds"))
    size = "{}x{}".format(*statistics.image_size)
    small = f"{statistics.small:.1%} under {SMALL_CELLS} cells, {statistics.shared:.1%} share a cell"
    tiles.append((f"objects at {size}", f"{1 - max(statistics.small, statistics.shared):.1%}", f"well seen; {small}"))
    if statistics.suggested_size:
        suggested = str(name_canvas(*statistics.suggested_input))
        tiles.append(("suggested image size", suggested, "shows the objects, no larger than the pictures"))
    page.add_tiles(tiles)


class _Gallery:
    """Draws labelled images of a checkup, whole or around one object; the settled labels, as training would see them."""

    def __init__(self, checkup: Checkup):
        self.checkup = checkup
        labels = checkup.labels
        self.has_pictures = labels is not None and any(look.digest for look in checkup.images.looks)
        self.index = {} if labels is None else {int(row): i for i, row in enumerate(labels.rows)}

    def draw_image(self, row: int, annotation: int | None = None) -> np.ndarray | None:
        """A labelled image for the dataset page, cut out around one annotation when asked; None if it cannot be shown."""
        checkup = self.checkup
        if not self.has_pictures or not checkup.images.looks[row].digest:
            return None
        image = read_image(checkup.images.paths[row], checkup.images.levels)
        labels = checkup.labels
        own = np.flatnonzero(labels.image_rows == row)
        cut = self._cut_part(image, self.index.get(annotation))
        image = image[cut[1] : cut[3], cut[0] : cut[2]]
        scale = min(MAX_SIDE / max(image.shape[:2]), 4.0)
        size = [max(round(side * scale), 1) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        boxes = (labels.boxes_xyxy[own] - np.tile(cut[:2], 2)) * scale
        points = (labels.points_xy[own] - cut[:2]) * scale
        return draw_record(image, boxes, labels.class_ids[own], points, labels.visibility[own], checkup.schema, close_up=True)

    def _cut_part(self, image: np.ndarray, index: int | None) -> np.ndarray:
        """The part of an image around one annotation to show on the dataset page: (4,) int x0, y0, x1, y1."""
        height, width = image.shape[:2]
        labels = self.checkup.labels
        if index is None:
            return np.array([0, 0, width, height])
        seen = labels.visibility[index] > 0
        corners = np.concatenate([labels.boxes_xyxy[index].reshape(2, 2), labels.points_xy[index][seen]])
        corners = corners[np.isfinite(corners).all(1)]
        if not len(corners):
            return np.array([0, 0, width, height])
        middle, side = (corners.min(0) + corners.max(0)) / 2, np.ptp(corners, axis=0).max()
        reach = side / 2 + max(MARGIN * side, 24)  # a square, so that thin objects leave some of their surroundings
        cut = np.concatenate([middle - reach, middle + reach]).round()
        return np.clip(cut, 0, [width - 1, height - 1, width, height]).astype(int)


def _add_examples(page: Page, gallery: _Gallery, val: _Gallery) -> None:
    """The pictures of the dataset page that show the findings."""
    shown = [
        (finding, _draw_examples(finding, gallery, val)) for finding in gallery.checkup.findings if finding.level != "note"
    ]
    shown = [(finding, pictures) for finding, pictures in shown if pictures]
    if not shown:
        return
    page.add_section("What it looks like", "Labels as training would read them, mended where --fix mends them.")
    for finding, pictures in shown:
        page.add_heading(finding.headline, finding.remedy)
        page.add_pictures(pictures, cell_width=240)


def _draw_examples(finding: DataFinding, gallery: _Gallery, val: _Gallery) -> list[Picture]:
    """Pictures for a finding on the dataset page: pairs, single objects, or whole images; none if nothing is to be seen."""
    own = val if finding.part else gallery
    twins = own if finding.twin_part is None else gallery
    labels, reading, pictures = own.checkup.labels, own.checkup.reading, []
    if finding.pairs:
        for row, twin in finding.pairs[:EXAMPLES]:
            caption = f"{reading.label_image(row)}, {twins.checkup.reading.label_image(twin)}"
            pictures.append(([own.draw_image(row), twins.draw_image(twin)], caption))
    elif not finding.image_rows:
        return []
    elif finding.noun == "image":
        for row in finding.image_rows[:EXAMPLES]:
            pictures.append(([own.draw_image(row)], reading.label_image(row)))
    else:
        for row in finding.rows[:EXAMPLES]:
            index = own.index.get(row)
            image = None if index is None else own.draw_image(int(labels.image_rows[index]), row)
            pictures.append(([image], reading.label_annotation(row)))
    return [Picture(images, caption) for images, caption in pictures if all(image is not None for image in images)]


def _add_classes(page: Page, checkup: Checkup) -> None:
    """The section of the dataset page on its classes."""
    statistics, schema = checkup.statistics, checkup.schema
    size = "{}x{}".format(*statistics.image_size)
    text = f"The side of an object is the square root of its box's area, in pixels of the {size} network input."
    page.add_section("Classes", text)
    rows = []
    for class_id, kind in enumerate(schema.classes):
        median = statistics.median_side[class_id]
        side = "-" if np.isnan(median) else f"{median:.0f}"
        counts = [f"{count[class_id]}" for count in (statistics.objects, statistics.crowds, statistics.images)]
        rows.append((kind.name, str(kind.category_id), *counts, side))
    page.add_table(("class", "category id", "objects", "crowds", "images", "median side"), rows)
    charts = []
    for class_id in np.argsort(-statistics.objects, kind="stable")[:CHARTS]:
        if statistics.objects[class_id]:
            edges, counts = [4, *EDGES[1:]], statistics.histogram[class_id]
            svg = draw_columns(edges, counts, x_label=f"side at {size}, pixels", y_label="objects")
            charts.append((schema.class_names[class_id], svg, ""))
    if charts:
        page.add_charts(charts)


def _add_keypoint_counts(page: Page, checkup: Checkup) -> None:
    """The section of the dataset page on its keypoints."""
    statistics, schema = checkup.statistics, checkup.schema
    if not schema.num_keypoints:
        return
    page.add_section("Keypoints", "How many objects have each keypoint labelled: visible in full, hidden (visibility 1) pale.")
    bars: list = []
    for class_id, kind in enumerate(schema.classes):
        if kind.keypoints:
            bars.append(f"{kind.name}: {statistics.objects[class_id]} objects")
        for k, name in enumerate(kind.keypoints, schema.keypoint_slice(class_id).start):
            labelled, _, _, share = keypoint_cells(statistics, k, class_id)
            bars.append((name, [Bar(float(statistics.visible[k]), f"{labelled} ({share})", float(labelled))]))
    page.add_bars(bars)
    rows = []
    for kind in schema.classes:
        if kind.keypoints:
            pairs = ", ".join(f"{kind.keypoints[a]} / {kind.keypoints[b]}" for a, b in kind.flip_pairs)
            pairs = pairs or ("none" if kind.can_flip else "not known: not mirrored")
            rows.append((kind.name, pairs, ", ".join(dict.fromkeys(f"{s:g}" for s in kind.oks_sigmas)), kind.sigma_source))
    page.add_table(("class", "change places in a mirror", "OKS sigmas", "from"), rows, text_columns=(1, 2, 3))


def _add_samples(page: Page, checkup: Checkup, gallery: _Gallery) -> None:
    """Labelled images at the end of the dataset page."""
    if not gallery.has_pictures:
        return
    pictures = []
    for row in choose_samples(checkup):
        image = gallery.draw_image(row)
        if image is not None:
            pictures.append(Picture([image], checkup.reading.label_image(row)))
    page.add_section("Samples", "A full dot is a visible keypoint, one with a dark core a hidden one.")
    page.add_pictures(pictures, cell_width=240)
    page.add_legend(checkup.schema)


def choose_samples(checkup: Checkup, count: int = SAMPLES) -> Sequence[int]:
    """Rows of images to show on the dataset page, the same every time: every class in turn, in the file's order."""
    labels = checkup.labels
    rng = np.random.default_rng(0)
    queues = [rng.permutation(np.unique(labels.image_rows[labels.class_ids == c])) for c in range(labels.schema.num_classes)]
    turns = (int(queue[n]) for n in range(max(map(len, queues), default=0)) for queue in queues if n < len(queue))
    chosen = list(dict.fromkeys(turns))[:count]
    return sorted(chosen)

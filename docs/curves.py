"""Draws docs/starts.png: what the packaged start is worth by minutes, from the table of benchmarks/STARTS.md.

python docs/curves.py
"""

import sys
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from claims import LIGHT, Row, find_rows
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PATH = Path(__file__).with_name("starts.png")
BACKBONES = {LIGHT: f"{LIGHT} (the default)", "hourglass_20": "hourglass_20", "hourglass_10": "hourglass_10"}
COLORS = {"drawn": "#1f6fb2", "other": "#c2571a"}
WORDS = {"drawn": "with drawn objects", "other": "without (photographs alone, or random weights)"}
SCORES = {"box AP": "-", "keypoint AP": "--"}
MINUTES = (1, 3, 8)
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}
SIZE, DPI = (8.6, 7.6), 110  # inches, pixels an inch
HEIGHTS = (1, 1, 1.22)  # of the rows, the last with the legend below


def draw() -> np.ndarray:
    """The curves, a row of panels for each backbone and a panel for each set, (height, width, 3) uint8 RGB."""
    with rc_context(SETTINGS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        lines = figure.subfigures(len(BACKBONES), height_ratios=HEIGHTS)
        for line, (backbone, title) in zip(lines, BACKBONES.items(), strict=True):
            rows = sorted(find_rows("STARTS", backbone=backbone), key=lambda row: (row["set"], float(row["minutes"])))
            sets = {name: list(group) for name, group in groupby(rows, key=lambda row: row["set"])}
            line.suptitle(title, x=0.01, ha="left", weight="bold")
            panels = line.subplots(1, len(sets), sharey=True, squeeze=False)[0]
            for axes, (name, group) in zip(panels, sets.items(), strict=True):
                _draw_set(axes, name.replace("_", " "), group)
            panels[0].set_ylabel("average precision")
        lines[-1].legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3]


def _draw_set(axes: Axes, title: str, rows: list[Row]) -> None:
    axes.set_title(title)
    for start, words in WORDS.items():
        several = [row for row in rows if (row["start"] == "drawn") == (start == "drawn")]
        minutes = [float(row["minutes"]) for row in several]
        for score, style in SCORES.items():
            heights = [float(row[score]) for row in several]
            label = f"{score}, {words}"
            axes.plot(minutes, heights, style, color=COLORS[start], marker="o", markersize=4, label=label)
    axes.set(xlabel="minutes", ylim=(0, 1.03), xlim=(0, 1.05 * MINUTES[-1]), xticks=MINUTES)


def main() -> int:
    cv2.imwrite(str(PATH), draw()[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return 0


if __name__ == "__main__":
    sys.exit(main())

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
COLORS = {"drawn": "#1f6fb2", "imagenet": "#c2571a"}
WORDS = {"drawn": "photographs and drawn objects (the default)", "imagenet": "photographs alone"}
SCORES = {"box AP": "-", "keypoint AP": "--"}
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}
SIZE, DPI = (8.6, 3.2), 110  # inches, pixels an inch


def draw() -> np.ndarray:
    """The curves, a panel for each set that both starts were measured on, (height, width, 3) uint8 RGB."""
    rows = sorted(find_rows("STARTS", backbone=LIGHT), key=lambda row: (row["set"], row["start"], float(row["minutes"])))
    sets = {name: list(group) for name, group in groupby(rows, key=lambda row: row["set"])}
    sets = {name: group for name, group in sets.items() if len({row["start"] for row in group}) > 1}
    with rc_context(SETTINGS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for axes, (name, group) in zip(panels, sets.items(), strict=True):
            _draw_set(axes, name.replace("_", " "), group)
        panels[0].set_ylabel("average precision")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3]


def _draw_set(axes: Axes, title: str, rows: list[Row]) -> None:
    axes.set_title(title)
    for start, group in groupby(rows, key=lambda row: row["start"]):
        several = list(group)
        minutes = [float(row["minutes"]) for row in several]
        for score, style in SCORES.items():
            heights = [float(row[score]) for row in several]
            label = f"{score}, {WORDS[start]}"
            axes.plot(minutes, heights, style, color=COLORS[start], marker="o", markersize=4, label=label)
    ticks = sorted({float(row["minutes"]) for row in rows})
    axes.set(xlabel="minutes", ylim=(0, 1.03), xlim=(0, 1.05 * ticks[-1]), xticks=ticks, xticklabels=[f"{t:g}" for t in ticks])


def main() -> int:
    cv2.imwrite(str(PATH), draw()[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return 0


if __name__ == "__main__":
    sys.exit(main())

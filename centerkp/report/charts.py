"""Line and column charts as small SVG drawings that take their colours from the page, drawn by Matplotlib."""

import io
import re
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from centerkp.report.page import series_color
from centerkp.report.style import DASHES, SERIES

# Drawn in these colours, which nothing else uses, and written as the names of the page's: so a chart follows light and dark.
_INK, _RULE = "#010203", "#010204"
_SERIES = [f"#0102{0x10 + n:02x}" for n in range(len(SERIES))]
_NAMES = {_INK: "var(--muted)", _RULE: "var(--rule)"} | {color: series_color(n) for n, color in enumerate(_SERIES)}
_SETTINGS = {
    "svg.fonttype": "none",  # letters stay text: small, sharp, and in the page's own font
    "text.parse_math": False,  # a dollar sign in a user's name is a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_joinstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}
_SIZE = (4.6, 3.0)  # inches of 72 points: about a phone's width, so that letters keep their size there
_MARGINS = {"left": 0.17, "right": 0.98, "bottom": 0.16, "top": 0.97}  # to measure the letters would take as long as to draw
_FEW = 12  # points of a curve, each shown as one
_WIDE = 20  # times that a curve's highest value is its lowest, from where it is drawn in powers of 10
_MOST = 300  # from where on only powers of 10 are named


@dataclass(frozen=True, eq=False)
class Line:
    """One line: `x` and `y` of equal length (points that are not finite break it), a `mark` (x, y) as a dot.

    `series` chooses the colour, so that the lines of one model can share it.
    """

    x: np.ndarray | Sequence[float]
    y: np.ndarray | Sequence[float]
    series: int = 0
    mark: tuple[float, float] | None = None


def draw_lines(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_end: float = 1,
    percent_x: bool = False,
) -> str:
    """A line chart as inline SVG: x from 0 to `x_end`, y from 0 to 1."""
    with rc_context(_SETTINGS):
        figure, axes = _make_axes(x_label, y_label)
        for line in lines:
            color = _SERIES[line.series % len(_SERIES)]
            axes.plot(line.x, line.y, color=color)
            if line.mark is not None:
                axes.plot(*line.mark, "o", color=color, markersize=6, clip_on=False)
        # A little room above, so that a line at the limit shows in its whole thickness.
        axes.set_xlim(0, 1.02 * x_end)
        axes.set_ylim(0, 1.02)
        if percent_x:
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return _chart_to_svg(figure)


def draw_curves(lines: Sequence[Line], *, x_label: str) -> str:
    """A chart of what was counted or measured again and again as inline SVG: x in whole numbers, y as far as it goes.

    A curve of few points shows them, so that a single one is seen; the colours come round again dashed.
    """
    with rc_context(_SETTINGS):
        figure, axes = _make_axes(x_label, "")
        for line in lines:
            color = _SERIES[line.series % len(_SERIES)]
            style = DASHES[line.series // len(_SERIES) % len(DASHES)]
            axes.plot(line.x, line.y, color=color, linestyle=style, marker="o" if len(line.x) <= _FEW else "", markersize=4)
            if line.mark is not None:
                axes.plot(*line.mark, "o", color=color, markersize=8, clip_on=False)
        values = np.concatenate([np.asarray(line.y, float) for line in lines])
        values = values[np.isfinite(values)]
        if len(values) and 0 < values.min() < values.max() / _WIDE:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < _MOST * values.min() else (1,)))
            axes.yaxis.set_minor_locator(NullLocator())
        elif len(values) and values.min() >= 0:
            axes.set_ylim(0, 1.05 * values.max() or 1)
        axes.yaxis.set_major_formatter(lambda value, _: np.format_float_positional(value, 6, fractional=False, trim="-"))
        axes.set_xlim(0, 1.02 * max((max(line.x) for line in lines if len(line.x)), default=1))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return _chart_to_svg(figure)


def draw_columns(edges: Sequence[float], counts: Sequence[float], *, x_label: str, y_label: str) -> str:
    """A histogram chart as inline SVG, x in powers of 10: `edges`, above 0, has one entry more than `counts`."""
    with rc_context(_SETTINGS):
        figure, axes = _make_axes(x_label, y_label)
        axes.stairs(np.asarray(counts, float), np.asarray(edges, float), fill=True, color=_SERIES[0], linewidth=0)
        axes.set_ylim(0, 1.05 * max([*counts, 1e-9]))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        return _chart_to_svg(figure)


def _make_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Empty Matplotlib axes of a chart, with labels."""
    figure = Figure(figsize=_SIZE, dpi=72)
    FigureCanvasSVG(figure)
    figure.subplots_adjust(**_MARGINS)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def _chart_to_svg(figure: Figure) -> str:
    """A chart as SVG text to be set into a page."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser draws the letters, and has them
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _adapt_svg(file.getvalue())


def _adapt_svg(svg: str) -> str:
    """Only the drawing of a chart's SVG, in the page's colours, to 1/100 point, and with ids no other chart has."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    for color, name in _NAMES.items():
        svg = svg.replace(color, name)
    prefix = f"c{uuid.uuid4().hex[:8]}"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _shorten, tag[0]), svg)  # what stands between tags is read
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _shorten(number: re.Match) -> str:
    """A coordinate of a chart, to 1/100 point."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

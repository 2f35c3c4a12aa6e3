"""One self-contained HTML file: sections, tables, charts, pictures and findings, without a script and without the network."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path

import cv2
import numpy as np

from centerkp import __version__
from centerkp.drawing.colors import keypoint_colors
from centerkp.drawing.legend import FEW
from centerkp.report.style import DASHES, SERIES, STYLE
from centerkp.schema import Schema
from centerkp.writing import mark, replacing

SEVERITIES = {"error": "Error", "warning": "Warning", "note": "Note", "ok": "Good"}
MAX_SIDE = 480  # pixels of a stored picture; larger ones are shrunk
QUALITY = 82  # of its JPEG
# The page may show what it holds and nothing else: a browser refuses any script and any request.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, eq=False)
class Picture:
    """One cell of a picture grid: one image, or several beside each other (below each other on a phone).

    Args:
        images: (H, W, 3) uint8 RGB each.
        titles: one above each image, or none at all.
    """

    images: Sequence[np.ndarray]
    caption: str = ""
    titles: Sequence[str] = ()


@dataclass(frozen=True)
class Finding:
    """Something the reader should know: `severity` is error, warning, note or ok; `details` are shown as a list."""

    severity: str
    title: str
    details: Sequence[str] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar: `value` is drawn full, `reach` (if larger) pale behind it, `text` stands at the right."""

    value: float
    text: str
    reach: float = 0.0


@dataclass
class Page:
    """Collects parts from top to bottom and writes them as one file. All text is escaped; nothing given is taken as HTML.

    Args:
        command: the one that makes the page, which then says so, see `writing.mark`.
    """

    title: str
    subtitle: str = ""
    command: str = ""
    _parts: list[str] = field(default_factory=list, repr=False)
    _sections: list[str] = field(default_factory=list, repr=False)

    def add_section(self, title: str, text: str = "") -> None:
        """Adds a heading to the HTML page, with a link to it at the top."""
        self._sections.append(title)
        self._parts.append(f'<h2 id="s{len(self._sections)}">{escape(title)}</h2>')
        self.add_text(text)

    def add_heading(self, title: str, text: str = "") -> None:
        """Adds a smaller heading inside a section of the HTML page."""
        self._parts.append(f"<h3>{escape(title)}</h3>")
        self.add_text(text)

    def add_text(self, text: str, muted: bool = False) -> None:
        """Adds paragraphs, parted by empty lines, to the HTML page; an empty text adds nothing."""
        kind = ' class="muted"' if muted else ""
        self._parts += [f"<p{kind}>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip()]

    def add_entries(self, entries: Sequence[tuple[str, str]]) -> None:
        """Adds names with what is to be said of each to the HTML page: beside each other, below each other on a phone."""
        items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
        self._parts.append(f"<dl>{items}</dl>")

    def add_code(self, text: str) -> None:
        """Adds a line for a terminal to the HTML page, to be copied; it breaks where the screen ends."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    @contextmanager
    def folded(self, title: str) -> Iterator[None]:
        """What is added to the HTML page inside stands behind its title, and shows when that is touched."""
        self._parts.append(f"<details><summary>{escape(title)}</summary>")
        yield
        self._parts.append("</details>")

    def add_tiles(self, tiles: Sequence[tuple[str, str, str]]) -> None:
        """Adds the few numbers to see first to the HTML page: (label, value, small print)."""
        cells = [f"<div><span>{escape(a)}</span><b>{escape(b)}</b><small>{escape(c)}</small></div>" for a, b, c in tiles]
        self._parts.append(f'<div class="tiles">{"".join(cells)}</div>')

    def add_table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        caption: str = "",
        text_columns: Sequence[int] = (),
        best: Sequence[tuple[int, int]] = (),
        shades: Sequence[Sequence[float]] | None = None,
    ) -> None:
        """Adds a table to the HTML page that scrolls inside itself where the screen is narrow; its first column stays.

        Args:
            rows: as many cells as headings each; a row of one cell is a heading over the rows that follow.
            text_columns: columns that are set to the left and may break into lines; the first always is.
            best: (row, column) of cells to set in bold.
            shades: per row, per cell behind the first, 0..1: how dark its ground is.
        """
        head = "".join(
            f'<th scope="col"{_cell_class(column, text_columns)}>{escape(text)}</th>' for column, text in enumerate(headings)
        )
        body = []
        for r, row in enumerate(rows):
            if len(row) == 1 < len(headings):
                body.append(f'<tr class="group"><th class="left" colspan="{len(headings)}">{escape(row[0])}</th></tr>')
                continue
            cells = [f'<th scope="row" class="left">{escape(row[0])}</th>']
            for column, text in enumerate(row[1:], 1):
                kinds = ["text left"] * (column in text_columns) + ["best"] * ((r, column) in best)
                style = ""
                if shades is not None:
                    kinds, style = [*kinds, "shade"], f' style="--part:{_bar_share(shades[r][column - 1]) * 0.6:.3f}"'
                kind = f' class="{" ".join(kinds)}"' if kinds else ""
                cells.append(f"<td{kind}{style}>{escape(text)}</td>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        table = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        self._parts.append(f'<div class="scroll" tabindex="0" role="region">{table}</div>')

    def add_bars(self, rows: Sequence[tuple[str, Sequence[Bar]] | str], names: Sequence[str] = ()) -> None:
        """Adds horizontal bars on one common scale to the HTML page, readable at any width.

        Args:
            rows: (label, one bar per series), or a bare text as a heading over the rows that follow.
            names: of the series, as a legend; none for a single series.
        """
        bars = [bar for row in rows if not isinstance(row, str) for bar in row[1]]
        top = max((v for bar in bars for v in (bar.value, bar.reach) if np.isfinite(v)), default=0) or 1
        cells = []
        for row in rows:
            if isinstance(row, str):
                cells.append(f'<div class="group">{escape(row)}</div>')
                continue
            cells.append(f'<div class="label">{escape(row[0])}</div>')
            cells += [_draw_bar(bar, top, n) for n, bar in enumerate(row[1])]
        self._parts.append(f'{_draw_legend(names)}<div class="bars">{"".join(cells)}</div>')

    def add_charts(self, charts: Sequence[tuple[str, str, str]], names: Sequence[str] = ()) -> None:
        """Adds charts to the HTML page beside each other: (title, SVG from `report.charts`, caption); none adds nothing.

        Args:
            names: of the series, as one legend over all of them.
        """
        if not charts:
            return
        figures = [
            f'<figure class="chart"><h3>{escape(title)}</h3>{svg}<figcaption>{escape(caption)}</figcaption></figure>'
            for title, svg, caption in charts
        ]
        self._parts.append(f'{_draw_legend(names)}<div class="charts">{"".join(figures)}</div>')

    def add_pictures(self, pictures: Sequence[Picture], *, cell_width: int = 300) -> None:
        """Adds a grid of pictures with captions to the HTML page.

        Args:
            cell_width: least width of a cell in pixels of the page.
        """
        figures = []
        for picture in pictures:
            cells = []
            for n, image in enumerate(picture.images):
                title = picture.titles[n] if picture.titles else ""
                small = f"<small>{escape(title)}</small>" if title else ""
                # Decoding off the page's own thread keeps scrolling smooth on a phone.
                source = f'src="{encode_image(image)}" alt="{escape(title or picture.caption)}"'
                cells.append(f'<div>{small}<img {source} decoding="async"></div>')
            pair = f'<div class="pair" style="--count:{len(cells)}">{"".join(cells)}</div>'
            figures.append(f"<figure>{pair}<figcaption>{escape(picture.caption)}</figcaption></figure>")
        self._parts.append(f'<div class="pictures" style="--cell:{int(cell_width)}px">{"".join(figures)}</div>')

    def add_findings(self, findings: Sequence[Finding]) -> None:
        """Adds findings to the HTML page in the order given, each with its severity as a word and as a colour.

        Raises:
            ValueError: a severity is unknown.
        """
        items = []
        for f in findings:
            if f.severity not in SEVERITIES:
                raise ValueError(f"finding '{f.title}': found severity '{f.severity}', expected one of {list(SEVERITIES)}.")
            details = "".join(f"<li>{escape(d)}</li>" for d in f.details)
            items.append(
                f'<li class="finding {f.severity}"><span class="kind">{SEVERITIES[f.severity]}</span>{escape(f.title)}'
                + (f"<ul>{details}</ul>" if details else "")
                + (f'<div class="muted">{escape(f.remedy)}</div>' if f.remedy else "")
                + "</li>"
            )
        self._parts.append(f'<ul class="findings">{"".join(items)}</ul>')

    def add_legend(self, schema: Schema) -> None:
        """Adds to the HTML page the keypoints that pictures show by number and colour, where they are many."""
        colors = keypoint_colors(schema).tolist()
        for class_id, kind in enumerate(schema.classes):
            if len(kind.keypoints) > FEW:
                names = [f"{n} {name}" for n, name in enumerate(kind.keypoints, 1)]
                own = ["rgb({}, {}, {})".format(*color) for color in colors[schema.keypoint_slice(class_id)]]
                self._parts.append(f'<p class="muted">{escape(kind.name)}</p>{_draw_legend(names, own)}')

    def to_html(self) -> str:
        """The whole page as the text of an HTML file."""
        links = "".join(f'<a href="#s{n}">{escape(title)}</a>' for n, title in enumerate(self._sections, 1))
        made = f"Made by centerkp {__version__} on {datetime.now():%Y-%m-%d %H:%M}."
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="generator" content="{mark(self.command)}">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n<body>"
            f'<header><h1>{escape(self.title)}</h1><div class="muted">{escape(self.subtitle)}</div>'
            f"<nav>{links}</nav></header>\n"
            + "\n".join(self._parts)
            + f'\n<footer class="muted">{escape(made)}</footer></body></html>\n'
        )

    def write(self, path: str | Path) -> Path:
        """Writes the HTML page, whole or not at all."""
        with replacing(path) as part:
            part.write_text(self.to_html(), encoding="utf-8", errors="backslashreplace")
        return Path(path)


def encode_image(image_rgb: np.ndarray) -> str:
    """An image to set into the HTML page, as a data URI: a JPEG, shrunk to `MAX_SIDE`.

    Raises:
        ValueError: the image is not (H, W, 3) uint8.
    """
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or not image_rgb.size:
        raise ValueError(f"image: found {image_rgb.dtype} {image_rgb.shape}, expected uint8 (height, width, 3) in RGB.")
    height, width = image_rgb.shape[:2]
    factor = MAX_SIDE / max(height, width)
    if factor < 1:
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        image_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", np.ascontiguousarray(image_rgb[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1]
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode()}"


def series_color(n: int) -> str:
    """The CSS colour on the page of the n-th series; after the last one they come round again."""
    return f"var(--{SERIES[n % len(SERIES)]})"


def _draw_legend(names: Sequence[str], colors: Sequence[str] = ()) -> str:
    """The names on the page beside their CSS colours, by default those of its series, dashed when they come round again."""
    own = colors or [series_color(n) for n in range(len(names))]
    dashes = ["solid" if colors else DASHES[n // len(SERIES) % len(DASHES)] for n in range(len(names))]
    items = "".join(
        f'<li><i style="border-top-style:{dash};border-color:{color}"></i>{escape(name)}</li>'
        for name, color, dash in zip(names, own, dashes, strict=True)
    )
    return f'<ul class="legend">{items}</ul>' if items else ""


def _draw_bar(bar: Bar, top: float, n: int) -> str:
    """One bar of the page as HTML."""
    value, reach = (100 * _bar_share(v / top) for v in (bar.value, bar.reach))
    color = f"background:{series_color(n)}"
    pale = f'<i style="width:{reach:.2f}%;{color}"></i>' if reach > value else ""
    full = f'<b style="width:{value:.2f}%;{color}"></b>' if np.isfinite(bar.value) else ""
    return f'<div class="track">{pale}{full}</div><div class="value">{escape(bar.text)}</div>'


def _cell_class(column: int, text_columns: Sequence[int]) -> str:
    """The style of a cell in an HTML page's table, which stands left where it holds text."""
    return ' class="left"' if column == 0 or column in text_columns else ""


def _bar_share(value: float) -> float:
    """How much of its line on the page a bar fills, 0 to 1."""
    return float(np.clip(np.nan_to_num(value), 0, 1))

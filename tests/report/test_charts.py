import re
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np

from centerkp.report.charts import Line, draw_columns, draw_curves, draw_lines


def parse(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "width" not in root.attrib and "height" not in root.attrib and "viewBox" in root.attrib
    return root


def test_lines_take_their_colours_from_the_page():
    x = np.linspace(0, 1, 50)
    svg = draw_lines([Line(x, x**2, 0, (0.5, 0.25)), Line(x, x, 1)], x_label="recall", y_label="precision")
    parse(svg)
    assert "var(--series0)" in svg and "var(--series1)" in svg and "#0102" not in svg and "metadata" not in svg
    assert ">recall</text>" in svg and len(svg) < 12000
    assert not re.search(r"\d\.\d{3,}", svg)


def test_two_charts_share_no_id():
    ids = []
    for _ in range(2):
        svg = draw_lines([Line([0, 1], [0, 1])], x_label="x", y_label="y")
        found = set(re.findall(r'\bid="([^"]+)"', svg))
        used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
        assert used and used <= found
        ids.append(found)
    assert not ids[0] & ids[1]


def test_names_are_text_and_nothing_else():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = draw_lines([Line([0, 1], [0, 1])], x_label="$\\frac{ <b> & 鼻", y_label="y")
    texts = [element.text for element in parse(svg).iter() if element.tag.endswith("text")]
    assert "$\\frac{ <b> & 鼻" in texts


def test_gaps_and_nothing_at_all_are_drawn():
    svg = draw_lines([Line([0, 0.5, 1], [0.2, np.nan, 0.4]), Line([], [])], x_label="x", y_label="y", percent_x=True)
    assert "nan" not in svg and ">100%</text>" in svg


def test_columns():
    svg = draw_columns(np.geomspace(1, 1000, 11), np.arange(10), x_label="pixels", y_label="objects")
    assert ">100</text>" in svg and "mathdefault" not in svg
    parse(svg)
    parse(draw_columns([1, 2], [0], x_label="x", y_label="y"))


def test_curves_show_single_points_and_small_numbers():
    svg = draw_curves([Line([1], [0.00025]), Line([], []), Line([1], [np.nan])], x_label="epoch")
    texts = [element.text for element in parse(svg).iter() if element.tag.endswith("text")]
    assert "0.00025" in texts and not any(re.search("e[-−]", text) for text in texts)  # noqa: RUF001
    assert "0.00005" in texts and "1" in texts and svg.count("<use") == 1 and "nan" not in svg


def test_curves_of_wide_range_are_in_powers_of_ten_and_colours_come_round_dashed():
    x = np.arange(1, 21)
    svg = draw_curves([Line(x, 1000 / x**3, series) for series in (0, 6)], x_label="epoch")
    texts = [element.text for element in parse(svg).iter() if element.tag.endswith("text")]
    assert {"1", "10", "100"} <= set(texts) and svg.count("stroke-dasharray") == 1
    assert "100" not in "".join(re.findall(r"<text[^>]*>([^<]*)", draw_curves([Line(x, x)], x_label="epoch")))

"""What is remarked about a file: counted, placed, and said in sentences."""

from pathlib import Path

import pytest

from centerkp.labels.faults import Remarks

PATH = Path("ann.json")


def test_a_report_joins_faults_of_one_kind_and_shows_ten():
    remarks = Remarks(PATH)
    remarks.add_fault("image", range(8), "no id", "give each one", lambda row: f"image {row}")
    remarks.add_fault("image", [], "no name", "give each one", str)
    remarks.add_fault("annotation", [3], "no box", "draw one", lambda row: f"annotation {row}")
    remarks.add_fault("annotation", [5, 7, 9], "no id", "give each one", lambda row: f"annotation {row}")
    with pytest.raises(ValueError) as caught:
        remarks.raise_faults()
    shown = [*(f"    image {row}" for row in range(8)), "    annotation 5", "    annotation 7"]
    assert str(caught.value).splitlines() == [
        "ann.json: found 12 faults of 2 kinds, expected a consistent COCO dataset; mend what is listed here.",
        "- no id (11): give each one",
        *shown,
        "    and 1 more",
        "- no box (1): draw one",
        "    annotation 3",
    ]
    # Who judges them by list finds them apart, with their rows.
    assert [(fault.noun, list(fault.rows), fault.count) for fault in remarks.faults[1:]] == [
        ("annotation", [3], 1),
        ("annotation", [5, 7, 9], 3),
    ]


def test_notes_are_sentences_with_ten_examples():
    remarks = Remarks(PATH)
    remarks.add_note("image", 0, "unreadable", ["never"])
    remarks.add_note("image", 2, "unreadable", ["a.jpg", "b.jpg"])
    remarks.add_note("category", 11, "empty", range(11))
    remarks.add_note("keypoint", 5, "far away", rows=[1, 4], place="annotation {}".format)
    remarks.add_sentence("nothing to count")
    assert remarks.sentences == (
        "2 images: unreadable: a.jpg, b.jpg",
        "11 categories: empty: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...",
        "5 keypoints: far away",
        "nothing to count",
    )
    assert remarks.notes[2].rows == [1, 4] and remarks.notes[2].places == ("annotation 1", "annotation 4")
    remarks.raise_faults()  # notes refuse nothing

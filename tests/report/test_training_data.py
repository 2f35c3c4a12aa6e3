import io

import pytest
from rich.console import Console
from scored_objects import random_records

from centerkp.report.training_data import _describe_flips, print_dataset
from centerkp.schema import ObjectClass, Schema


@pytest.mark.parametrize("source", ["json", "flag", "names", "places", "none", "unpaired", "sided", "few"])
def test_every_source_of_flip_pairs_has_words(source):
    """And whoever reads them sees whether images are mirrored."""
    kind = ObjectClass("plate", 1, ("p", "q"), flip_source=source)
    assert ("NOT mirrored" in _describe_flips(kind, 9)) == (not kind.can_flip)


def test_many_classes_and_keypoints_fit_a_few_screens():
    names = tuple(f"p{k}" for k in range(12))
    pairs = tuple((2 * k, 2 * k + 1) for k in range(6))
    kinds = [ObjectClass(f"kind_{n}", n + 1, names, flip_pairs=pairs, flip_source="json") for n in range(22)]
    schema = Schema((*kinds, *(ObjectClass(f"unused_{n}", 100 + n) for n in range(20))))
    records = random_records(schema, images=60, missing=[c.name for c in schema.classes[22:]])
    file = io.StringIO()
    print_dataset(Console(file=file, width=80), records, records[:2], schema, [])
    text = " ".join(file.getvalue().split())
    assert len(file.getvalue().splitlines()) < 80 and "unused_" not in text
    assert "10 of 42 classes, those with the fewest objects; 12 others" in text
    assert "10 of 264 keypoints, those with the fewest labels; 254 others" in text
    assert "p0 <-> p1, p2 <-> p3, 4 more" in text and "10 of 22 classes with keypoints" in text

import pytest

from centerkp.report.training_data import _describe_flips
from centerkp.schema import ObjectClass


@pytest.mark.parametrize("source", ["json", "flag", "names", "places", "none", "unpaired", "sided", "few"])
def test_every_source_of_flip_pairs_has_words(source):
    """And whoever reads them sees whether images are mirrored."""
    kind = ObjectClass("plate", 1, ("p", "q"), flip_source=source)
    assert ("NOT mirrored" in _describe_flips(kind)) == (not kind.can_flip)

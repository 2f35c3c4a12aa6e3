from types import SimpleNamespace

import numpy as np
import pytest

from centerkp.labels.rarity import repeat_factors, weigh_images


def test_factors_by_hand():
    """A quarter of 64 is 16: from there on the square root of 16 / n; a class without any image asks for nothing."""
    assert repeat_factors(np.array([64, 16, 4, 1, 0])) == pytest.approx([1, 1, 2, 4, 1])
    assert repeat_factors(np.array([0, 0])).tolist() == [1, 1] and repeat_factors(np.array([], int)).tolist() == []


def test_an_image_is_seen_for_its_rarest_class_but_not_for_crowds():
    kinds = [[0]] * 14 + [[0, 1], []]
    records = [SimpleNamespace(class_ids=np.array(k, int), is_crowd=np.zeros(len(k), bool)) for k in kinds]
    records[0] = SimpleNamespace(class_ids=np.array([0, 1]), is_crowd=np.array([False, True]))
    assert weigh_images(records, 2) == pytest.approx([1] * 14 + [(15 / 4) ** 0.5, 1])

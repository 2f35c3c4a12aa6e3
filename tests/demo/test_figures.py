import pytest

from centerkp.demo.figures import limb, oval


def test_limb_and_oval_by_hand():
    outline = limb((0, 0), (0, 2), 0.4, 0.2)
    assert outline[:, 0].max() == pytest.approx(0.2) and outline[:, 0].min() == pytest.approx(-0.2)
    assert outline[:, 1].min() == pytest.approx(-0.2) and outline[:, 1].max() == pytest.approx(2.1)
    ring = oval((1, 1), 2.0, 1.0, (0, 1))
    assert ring.min(0) == pytest.approx((0.5, 0)) and ring.max(0) == pytest.approx((1.5, 2))

import numpy as np

from centerkp.demo.surroundings import draw_ground, take_picture


def test_grounds_and_lights_vary_and_follow_the_seed():
    grounds = [draw_ground(np.random.default_rng(seed), 64) for seed in range(30)]
    assert all(ground.shape == (64, 64, 3) and ground.dtype == np.uint8 for ground in grounds)
    assert (draw_ground(np.random.default_rng(3), 64) == grounds[3]).all()
    assert np.std([ground.mean() for ground in grounds]) > 15
    taken = [take_picture(np.random.default_rng(seed), ground) for seed, ground in enumerate(grounds)]
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in taken)
    gray = [not np.ptp(picture.astype(int), axis=2).any() for picture in taken]
    assert 0 < sum(gray) < 20

"""Seeds of a run and of its steps."""

import random

import numpy as np
import paddle

from ppdet_lite.train.seed import seed_step, set_seed


def test_seeds_repeat_and_a_missing_one_is_drawn():
    draws = []
    for _ in range(2):
        assert set_seed(11) == 11
        draws.append((random.random(), np.random.rand(), paddle.rand([2]).tolist()))
    assert draws[0] == draws[1]
    assert set_seed(None) != set_seed(None)


def test_every_step_has_its_own_draws():
    def draw(*key):
        seed_step(*key)
        return tuple(paddle.rand([3]).tolist())

    assert draw(1, 0, 5) == draw(1, 0, 5)
    assert len({draw(1, 0, 5), draw(1, 0, 6), draw(1, 1, 5), draw(2, 0, 5)}) == 4

"""The rank hash: by hand, against a slow twin, and what must and must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.store.rank_hash import HASH_BITS, differing_bits, rank_hash


def slow_hash(saliency_map):
    """The definition, cell by cell and bit by bit; for sides that 8 divides."""
    height, width = (side // 8 for side in saliency_map.shape)
    cells = [
        float(saliency_map[row * height : (row + 1) * height, column * width : (column + 1) * width].mean())
        for row in range(8)
        for column in range(8)
    ]
    apart = 0.02 * (max(cells) - min(cells))
    bits = "".join("1" if cells[at] - cells[(29 * at + 17) % 64] > apart else "0" for at in range(64))
    return f"{int(bits, 2):016x}"


def smooth(rng, side=32):
    return np.kron(rng.random((8, 8)), np.ones((side // 8, side // 8))).astype(np.float32)


def test_it_is_the_slow_twin(rng):
    for _ in range(20):
        saliency_map = rng.normal(size=(48, 32))
        assert rank_hash(saliency_map) == slow_hash(saliency_map)


def test_by_hand():
    # 29 x 47 + 17 = 21 x 64 + 36, and so on: every cell is second once, and no pair comes back turned round.
    pairs = {at: (29 * at + 17) % 64 for at in range(64)}
    assert sorted(pairs.values()) == list(range(64))
    assert all(at != other and pairs[other] != at for at, other in pairs.items())
    one = np.zeros((8, 8))
    one[0, 0] = 1.0
    assert rank_hash(one) == "8000000000000000"


@pytest.mark.parametrize("change", [lambda one: 7 * one, lambda one: one - 3, lambda one: 1e30 * one])
def test_scale_and_offset_change_nothing(rng, change):
    saliency_map = smooth(rng).astype(np.float64)
    assert rank_hash(change(saliency_map)) == rank_hash(saliency_map)


def test_rounding_changes_no_bit_and_another_picture_many(rng):
    bits = []
    for _ in range(50):
        one = smooth(rng)
        noisy = one * (1 + 1e-4 * rng.standard_normal(one.shape))
        bits.append(
            (differing_bits(rank_hash(one), rank_hash(noisy)), differing_bits(rank_hash(one), rank_hash(smooth(rng))))
        )
    assert np.mean([rounded for rounded, _ in bits]) < 0.1
    assert np.mean([other for _, other in bits]) == pytest.approx(HASH_BITS / 2, abs=3)


def test_what_has_no_hash(rng):
    broken = smooth(rng)
    broken[3, 3] = np.nan
    assert rank_hash(broken) is None
    assert rank_hash(np.ones((7, 20))) is None


def test_the_largest_floats_do_not_overflow():
    one = np.zeros((16, 16), dtype=np.float32)
    one[0:2, 0:2] = np.finfo(np.float32).max
    assert rank_hash(one) == "8000000000000000"


def test_any_size_of_at_least_eight(rng):
    for size in ((8, 8), (9, 17), (224, 224), (37, 8)):
        assert len(rank_hash(rng.random(size))) == 16

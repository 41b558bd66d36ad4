"""Drawing pixels of each stratum: reproducible, and with the probabilities of the design."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from comix_cli.accuracy.design import Strata
from comix_cli.accuracy.estimate import Estimate, by_map_class
from comix_cli.mapping import draw
from comix_cli.mapping.draw import count_codes, draw_ranks, locate, shuffled

Codes = NDArray[np.int32]


def random_map(shape: tuple[int, int], classes: int, seed: int = 0) -> Codes:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes + 1, shape).astype(np.int32)


def drawn(codes: Codes, samples: dict[int, int], seed: int) -> dict[int, list[int]]:
    ranks = draw_ranks(count_codes(codes), samples, seed)
    return {code: places.tolist() for code, places in locate([codes], ranks).items()}


def test_pixels_are_counted_by_code_and_no_class_is_no_code() -> None:
    codes = np.array([[0, 3, 3], [70_000, 0, 2_000_000]], np.int32)
    assert count_codes(codes) == {3: 2, 70_000: 1, 2_000_000: 1}
    assert count_codes(np.zeros((2, 2), np.int32)) == {}


@given(st.data())
def test_ranks_are_found_wherever_strips_and_pieces_end(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    codes = random_map((height, width), 3, data.draw(st.integers(0, 9)))
    pixels = count_codes(codes)
    samples = {code: data.draw(st.integers(0, count)) for code, count in pixels.items()}
    ranks = draw_ranks(pixels, samples, 5)
    cuts = sorted(data.draw(st.sets(st.integers(1, height - 1))) if height > 1 else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "_PIECE", data.draw(st.integers(1, 20)))
        found = locate(np.split(codes, cuts), ranks)
    for code, places in found.items():
        expected = np.flatnonzero(codes == code)[ranks[code]]
        assert places.tolist() == expected.tolist()
        assert len(set(places.tolist())) == samples[code]


def test_codes_beyond_a_table_are_found_too() -> None:
    codes = random_map((30, 40), 4) * 3_000_000
    for code, places in drawn(codes, dict.fromkeys(count_codes(codes), 7), 1).items():
        assert (codes.reshape(-1)[places] == code).all()


def test_a_seed_fixes_the_draw_and_no_stratum_changes_another() -> None:
    codes = random_map((20, 30), 3)
    both = drawn(codes, {1: 9, 2: 8}, 7)
    assert drawn(codes, {1: 9, 2: 8}, 7) == both
    assert drawn(codes, {2: 8}, 7)[2] == both[2]
    assert drawn(codes, {1: 9, 2: 8}, 8) != both


def test_the_order_of_the_points_is_fixed_by_the_seed_and_is_no_order() -> None:
    assert sorted(shuffled(100, 3)) == list(range(100))
    assert shuffled(100, 3).tolist() == shuffled(100, 3).tolist()
    assert shuffled(100, 3).tolist() != shuffled(100, 4).tolist()
    assert shuffled(100, 3).tolist() != list(range(100))


def test_more_than_there_is_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="larger sample"):
        draw_ranks({1: 3}, {1: 4}, 0)
    with pytest.raises(ValueError, match="fewer pixels than were counted"):
        locate([np.ones((1, 2), np.int32)], {1: np.array([0, 2])})


def test_every_set_of_pixels_is_equally_likely() -> None:
    codes = np.array([[1, 2, 1], [2, 1, 1], [0, 1, 2]], np.int32)
    sets = list(combinations(np.flatnonzero(codes == 1).tolist(), 2))
    found = Counter(tuple(drawn(codes, {1: 2, 2: 1}, seed)[1]) for seed in range(4000))
    assert set(found) == set(sets)
    assert stats.chisquare([found[pair] for pair in sets]).pvalue > 0.01


def test_pixels_are_included_with_the_probabilities_of_the_design() -> None:
    codes = random_map((12, 15), 3, 2)
    samples, seeds = {1: 5, 2: 12, 3: 20}, 2000
    times: Counter[int] = Counter()
    for seed in range(seeds):
        times.update(place for places in drawn(codes, samples, seed).values() for place in places)
    for code, count in samples.items():
        pixels = np.flatnonzero(codes == code).tolist()
        share = count / len(pixels)
        found = np.array([times[pixel] for pixel in pixels])
        # Drawn without replacement, frequencies of pixels vary by 1 - share, and sum to a constant.
        spread = ((found - seeds * share) ** 2).sum() / (seeds * share * (1 - share))
        statistic = spread * (len(pixels) - 1) / len(pixels)
        assert stats.chi2.sf(statistic, len(pixels) - 1) > 0.01


def test_intervals_from_drawn_samples_cover_the_truth() -> None:
    mapped, truth = known_map()
    sizes = [int((mapped == k + 1).sum()) for k in range(3)]
    design = Strata(np.array(sizes), np.array([0.75, 0.8, 0.9]))
    samples = design.allocate(600, "optimal", 100)
    counts = {k + 1: int(n) for k, n in enumerate(samples)}
    held = np.zeros(4)
    for seed in range(1000):
        places = drawn(mapped, counts, seed)
        found = by_map_class(sample_matrix(mapped, truth, places), sizes)
        figures = [found.overall_accuracy, found.area[0], found.area[2], found.users_accuracy[1]]
        held += [covers(f, v) for f, v in zip(figures, true_figures(mapped, truth), strict=True)]
    assert ((held >= 930) & (held <= 970)).all(), held


def known_map() -> tuple[Codes, Codes]:
    """A map of three classes in patches, without data in a corner, and what is really there."""
    rng = np.random.default_rng(11)
    mapped = np.kron(rng.choice([1, 2, 3], (15, 15), p=[0.1, 0.3, 0.6]), np.ones((16, 16)))
    mapped[:20, :20] = 0
    truth = mapped.copy()
    right = np.array([1, 0.75, 0.8, 0.9])[mapped.astype(int)]
    wrong = rng.random(mapped.shape) > right
    truth[wrong] = rng.integers(1, 4, int(wrong.sum()))
    return mapped.astype(np.int32), truth.astype(np.int32)


def sample_matrix(mapped: Codes, truth: Codes, places: dict[int, list[int]]) -> NDArray[np.int64]:
    every = np.concatenate([*places.values()])
    matrix = np.zeros((3, 3), np.int64)
    np.add.at(matrix, (truth.reshape(-1)[every] - 1, mapped.reshape(-1)[every] - 1), 1)
    return matrix


def true_figures(mapped: Codes, truth: Codes) -> Sequence[float]:
    filled, second = mapped > 0, mapped == 2
    return (
        float((mapped == truth)[filled].mean()),
        float((truth == 1)[filled].mean()),
        float((truth == 3)[filled].mean()),
        float((truth == 2)[second].mean()),
    )


def covers(estimate: Estimate, value: float) -> bool:
    assert estimate.value is not None
    assert estimate.half_width is not None
    return abs(estimate.value - value) <= estimate.half_width

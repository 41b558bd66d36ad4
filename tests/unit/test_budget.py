"""How much is done at once, within the memory that is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.errors import UsageError
from comix_cli.mapping.budget import MB, SMALLEST_CACHE, Costs, fit, plan_costs
from comix_cli.mapping.predict import Pace
from comix_cli.scene.windows import plan_windows

COSTS = Costs(
    base=400 * MB,
    window=10 * MB,
    prediction=2 * MB,
    reading=5 * MB,
    forward=50 * MB,
    strip=30 * MB,
    carry=100 * MB,
    cache=200 * MB,
)


def test_with_memory_to_spare_every_thread_works_and_nothing_is_read_twice() -> None:
    budget = fit(COSTS, threads=4, batch=1, limit=100_000 * MB)
    assert budget.pace == Pace(workers=4, batch=1, ahead=9)
    assert budget.carry
    assert budget.cache == COSTS.cache


@given(st.integers(1, 64), st.integers(1, 16), st.integers(600, 20_000))
def test_less_memory_never_allows_more_and_the_limit_is_kept(
    threads: int, batch: int, megabytes: int
) -> None:
    limit = megabytes * MB
    try:
        budget = fit(COSTS, threads, batch, limit)
    except UsageError:
        assert megabytes < 800
        return
    assert budget.total <= limit
    assert 1 <= budget.pace.workers <= threads
    assert 1 <= budget.pace.batch <= batch
    more = fit(COSTS, threads, batch, 2 * limit)
    at_once = budget.pace.workers * budget.pace.batch
    assert more.pace.workers * more.pace.batch >= at_once


def test_what_costs_least_time_is_given_up_first() -> None:
    full = fit(COSTS, 4, 1, 100_000 * MB).total
    slightly_less = fit(COSTS, 4, 1, full - 1)
    assert slightly_less.pace.workers == 4
    assert slightly_less.carry
    shy_of_carry = fit(COSTS, 4, 1, slightly_less.total - 1)
    assert shy_of_carry.pace.workers == 4
    assert not shy_of_carry.carry
    least = fit(COSTS, 4, 1, 600 * MB)
    assert least.pace.workers < 4
    assert least.cache == SMALLEST_CACHE


def test_a_scene_that_cannot_fit_is_refused_with_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"takes at least (\d+) MB.*the 300 MB allowed") as error:
        fit(COSTS, 2, 1, 300 * MB)
    assert "--ram" in error.value.message
    needed = int(error.value.message.split("at least ")[1].split(" MB")[0])
    assert fit(COSTS, 2, 1, needed * MB).pace.workers == 1


def test_costs_depend_on_the_width_and_never_on_the_height() -> None:
    def costs(height: int, width: int) -> Costs:
        return plan_costs(
            plan_windows((height, width), 64, 21),
            (64, 64),
            channels=50,
            bands_read=200,
            classes=20,
            row_bytes=100,
            base=0,
            forward=0,
            cache=0,
        )

    assert costs(1000, 500) == costs(100_000, 500)
    assert costs(1000, 5000).strip > 9 * costs(1000, 500).strip
    # by hand: 64 rows of 21 planes of floats, and two times the last window's 64 finished rows
    assert costs(1000, 500).strip == 64 * 21 * 4 * 500 + 2 * 64 * (21 * 4 * 500 + 100)
    assert costs(1000, 500).carry == 21 * 500 * (50 * 4 + 1)

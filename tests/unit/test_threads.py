"""Work beside the main thread: in order, bounded, and gone at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from comix_cli.mapping.threads import in_background, in_order, prefetched, thread_pool


def test_results_come_in_the_order_of_the_items_however_long_each_takes() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    with thread_pool(3, "test") as pool:
        found = list(in_order(pool, slow_at_first, range(20), ahead=4))
    assert found == [n * n for n in range(20)]


def test_no_more_items_are_taken_than_allowed() -> None:
    taken, finished, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number

    with thread_pool(2, "test") as pool:
        for _ in in_order(pool, lambda n: n, items(), ahead=3):
            most = max(most, taken - finished)
            finished += 1
    assert finished == 30
    assert most <= 3


def test_items_are_made_in_another_thread_and_not_too_early() -> None:
    made: list[str] = []

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(threading.current_thread().name)
            yield number

    with thread_pool(1, "comix-reader") as pool:
        source = prefetched(pool, items(), 2)
        assert next(source) == 0
        time.sleep(0.05)
        assert len(made) <= 3
        assert list(source) == [1, 2, 3, 4]
    assert all(name.startswith("comix-reader") for name in made)


def test_an_error_of_an_item_reaches_the_caller() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with thread_pool(1, "test") as pool, pytest.raises(OSError, match="the disk is gone"):
        list(prefetched(pool, items(), 3))


def test_an_error_of_a_task_reaches_the_caller_and_ends_the_rest() -> None:
    begun: list[int] = []

    def fail_at_two(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    with pytest.raises(ValueError, match="two"), thread_pool(1, "test") as pool:
        list(in_order(pool, fail_at_two, range(100), ahead=5))
    assert len(begun) < 10


def test_background_calls_keep_their_order_and_are_done_at_the_end() -> None:
    seen: list[int] = []

    def note(number: int) -> None:
        time.sleep(0.001)
        seen.append(number)

    with in_background(note, 2) as call:
        for number in range(20):
            call(number)
    assert seen == list(range(20))


@pytest.mark.parametrize("failing", [0, 4])
def test_an_error_in_the_background_is_raised_by_a_later_call_or_the_end(failing: int) -> None:
    def work(number: int) -> None:
        if number == failing:
            raise OSError("no space left")

    def call_all() -> None:
        with in_background(work, 1) as call:
            for number in range(5):
                call(number)

    with pytest.raises(OSError, match="no space left"):
        call_all()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with in_background(lambda: None, 1) as call, thread_pool(2, "test") as pool:
        call()
        list(in_order(pool, str, range(4), ahead=2))
    assert threading.active_count() == before

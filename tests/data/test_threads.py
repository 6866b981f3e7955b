from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from nlkit.data.threads import in_order, workers


@pytest.mark.parametrize("count", [None, 1, 3])
def test_results_come_in_the_order_of_the_items(count: int | None) -> None:
    waits = np.random.default_rng(0).uniform(0, 0.003, 40)

    def work(item: int) -> int:
        time.sleep(waits[item])
        return item * item

    assert list(in_order(work, range(40), count)) == [item * item for item in range(40)]
    assert list(in_order(work, [], count)) == [] and workers() >= 1


def test_no_more_than_two_items_a_thread_are_ahead() -> None:
    taken = []

    def items() -> object:
        for item in range(100):
            taken.append(item)
            yield item

    found = in_order(lambda item: item, items(), 3)  # type: ignore[arg-type, var-annotated]
    for item in range(20):
        assert next(found) == item and len(taken) <= item + 1 + 6
    found.close()


def test_an_error_comes_out_in_its_turn_and_ends_the_work() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise KeyError(item)
        return item

    found, seen = in_order(work, range(1000), 2), []
    with pytest.raises(KeyError):
        for item in found:
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4] and len(begun) <= 12
    assert threading.active_count() == 1 or not any("ThreadPool" in one.name for one in threading.enumerate())

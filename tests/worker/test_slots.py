"""The accounting of slots."""

import threading

from jobkit.worker.slots import Slots


def test_a_reservation_takes_all_and_gives_back_the_rest() -> None:
    """A claim reserves every free slot; what it does not fill is free again, what it fills is busy."""
    slots = Slots({"a": 2, "b": 1})
    assert slots.total == 3
    assert slots.reserve() == {"a": 2, "b": 1}
    slots.settle({"a": 1})
    assert slots.busy() == 1
    assert slots.reserve() == {"a": 1, "b": 1}
    slots.settle({"a": 1, "b": 1})
    assert slots.busy() == 3


def test_a_claim_waits_for_a_free_slot() -> None:
    """While every slot is busy a reservation waits; a release wakes it; closing ends it."""
    slots = Slots({"a": 1})
    got: list[dict[str, int]] = []
    slots.reserve()
    slots.settle({"a": 1})
    first = threading.Thread(target=lambda: got.append(slots.reserve()))
    first.start()
    slots.release({"a": 1})
    first.join(10)
    assert got == [{"a": 1}]
    second = threading.Thread(target=lambda: got.append(slots.reserve()))
    second.start()
    slots.close()
    second.join(10)
    assert got[1] == {}


def test_a_claim_that_cannot_hear_a_queue_is_told() -> None:
    """A slot that comes free while a claim waits on other queues interrupts it; one that it listens to does not."""
    slots = Slots({"a": 1, "b": 2})
    told: list[str] = []
    slots.reserve()
    slots.settle({"a": 1, "b": 1})
    assert slots.reserve() == {"b": 1}
    slots.release({"b": 1}, unheard=lambda: told.append("b"))
    assert told == []
    slots.release({"a": 1}, unheard=lambda: told.append("a"))
    assert told == ["a"]


def test_idle_means_no_job_but_stuck_ones() -> None:
    """Draining waits for busy and reserved slots, not for those whose attempt was given up."""
    slots = Slots({"a": 2})
    assert slots.wait_idle(0)
    slots.reserve()
    assert not slots.wait_idle(0)
    slots.settle({"a": 1})
    assert not slots.wait_idle(0)
    slots.mark_stuck(1)
    assert slots.wait_idle(0)
    hurry = threading.Event()
    slots.mark_stuck(-1)
    waiter = threading.Thread(target=lambda: slots.wait_idle(None, until=hurry.is_set))
    waiter.start()
    hurry.set()
    slots.wake()
    waiter.join(10)
    assert not waiter.is_alive()


def test_the_sum_never_changes() -> None:
    """Whatever a fetcher and a finisher do at once, each slot is in one place."""
    slots = Slots({"a": 3, "b": 5})
    rounds = 2000

    def fetch() -> None:
        for n in range(rounds):
            wants = slots.reserve()
            claimed = {queue: min(want, n % 3) for queue, want in wants.items()}
            slots.settle(claimed)
            slots.release(claimed)

    def watch() -> None:
        for _ in range(rounds):
            assert 0 <= slots.busy() <= slots.total

    threads = [threading.Thread(target=fetch), threading.Thread(target=watch)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert slots.busy() == 0
    assert slots.reserve() == {"a": 3, "b": 5}

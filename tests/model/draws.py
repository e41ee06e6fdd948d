"""What Hypothesis draws for the rules."""

import hypothesis.strategies as st

from tests.model.job import QUEUES, RELEASES

# One that RQ would not take is among them: the scripts cut ids from tokens.
IDS = ("j:0", *(f"j{i}" for i in range(1, 12)))
NUMBERS = st.integers(0, 999)
WHO = st.sampled_from(sorted(RELEASES))
QUEUE = st.sampled_from(QUEUES)
OFTEN = st.sampled_from([True, True, True, True, False])
SOME_QUEUES = st.sets(QUEUE, min_size=1)
DELAYS = st.sampled_from([0, 0, 1000, 20_000])
# Key, mode, and time: one that no example outlives by the server's own clock, by which keys go.
DEDUPES = st.sampled_from(
    [
        *[None] * 4,
        ("r", "reject", None),
        ("d", "debounce", 20_000),
        ("t", "throttle", 300_000),
        ("m", "reject", None),
        ("m", "debounce", 1000),
        ("m", "debounce", 31_000),
        ("m", "throttle", 300_000),
    ]
)
# Whether its id is a free one, the id's number, queue, delay, whether that is told as a date, dedupe.
NEWS = st.tuples(OFTEN, NUMBERS, QUEUE, DELAYS, st.booleans(), DEDUPES)
WANTS = st.fixed_dictionaries({queue: st.integers(0, 3) for queue in QUEUES})
# Which claim of a worker's: one that it owns; one whose job somebody has claimed since, or that has ended; the token of
# one with a job that somebody owns; or with another queue.
PICK = st.tuples(st.sampled_from(["own"] * 4 + ["stale", "past", "forged", "elsewhere"]), NUMBERS, NUMBERS)
PICKS = st.lists(PICK, min_size=1, max_size=4)

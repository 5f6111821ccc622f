from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from village_wire.traffic import Traffic


def test_an_answer_in_time_carries_the_acknowledgement() -> None:
    traffic = Traffic()
    traffic.wrote(2, 0.0)
    traffic.read(2, 0.01)
    assert (traffic.sent, traffic.received) == (54, 54)
    # The pong was acknowledged alone, which is known a minute later.
    traffic.wrote(2, 60.0)
    assert (traffic.sent, traffic.received) == (54 + 52 + 54, 54)


def test_what_is_not_answered_in_time_is_acknowledged_alone() -> None:
    traffic = Traffic()
    traffic.wrote(100, 0.0)
    traffic.read(4, 0.1)
    assert (traffic.sent, traffic.received) == (152, 52 + 56)


def test_long_writes_take_several_segments() -> None:
    traffic = Traffic()
    traffic.wrote(1401, 0.0)
    assert traffic.sent == 1401 + 2 * 52


def test_tls_adds_to_each_write() -> None:
    traffic = Traffic(secure=True)
    traffic.wrote(2, 0.0)
    assert traffic.sent == 2 + 52 + 22


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**6), st.floats(0, 100))))
def test_no_byte_is_left_out(chunks: list[tuple[bool, int, float]]) -> None:
    traffic, now = Traffic(), 0.0
    for sent, size, pause in chunks:
        now += pause
        (traffic.wrote if sent else traffic.read)(size, now)
    least = sum(size + 52 for _, size, _ in chunks)
    segments = sum(-(-size // 1400) + 1 for _, size, _ in chunks)
    assert least <= traffic.total <= sum(size for _, size, _ in chunks) + segments * 52

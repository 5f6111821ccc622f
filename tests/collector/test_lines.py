from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector.lines import InvalidLine, parse_line
from village_wire.points import KINDS, Value, encode_point

_VALUES = {
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(-(2**63), 2**63 - 1),
    bool: st.booleans(),
}
_GOOD = b"sensor,agent=a1,device=d-2 temperature_c=21.5,on=true 1700000000000000000"


@st.composite
def _points(draw: st.DrawFn) -> tuple[str, str, str, dict[str, Value], int]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    names = draw(st.lists(st.sampled_from(sorted(KINDS[kind])), min_size=1, unique=True))
    fields: dict[str, Value] = {name: draw(_VALUES[KINDS[kind][name]]) for name in names}
    agent = draw(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True))
    device = draw(st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True))
    return kind, agent, device, fields, draw(st.integers(-(2**63), 2**63 - 1))


@given(point=_points())
def test_reads_what_the_wire_writes(point: tuple[str, str, str, dict[str, Value], int]) -> None:
    read = parse_line(encode_point(*point))
    assert read == point
    assert [type(value) for value in read.fields.values()] == [KINDS[read.kind][name] for name in read.fields]


@given(line=st.binary(max_size=200))
def test_any_bytes_raise_the_own_error_only(line: bytes) -> None:
    with contextlib.suppress(InvalidLine):
        parse_line(line)


@given(at=st.integers(0, len(_GOOD) - 1), new=st.binary(max_size=3))
def test_a_damaged_line_raises_the_own_error_only(at: int, new: bytes) -> None:
    with contextlib.suppress(InvalidLine):
        parse_line(_GOOD[:at] + new + _GOOD[at + 1 :])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not <kind>"),
        (_GOOD + b"\n", "not <kind>"),
        (_GOOD.replace(b" 17", b"  17"), "not <kind>"),
        (_GOOD.replace(b"device=d-2", b"device=d-2,room=1"), "not <kind>"),
        (_GOOD.replace(b" 1700000000000000000", b""), "not <kind>"),
        (_GOOD.replace(b"sensor", b"toaster"), "unknown kind 'toaster'"),
        (_GOOD.replace(b"on=", b"off="), "sensor has no field 'off'"),
        (_GOOD.replace(b",on=true", b",on"), "sensor has no field"),
        (_GOOD.replace(b"on=true", b"temperature_c=2.0"), "stands twice"),
        (_GOOD.replace(b"true", b"t"), "takes bool"),
        (_GOOD.replace(b"21.5", b"21i"), "takes float"),
        (_GOOD.replace(b"21.5", b"nan"), "takes float"),
        (_GOOD.replace(b"21.5", b"1e999"), "takes float"),
        (_GOOD.replace(b"21.5", b'"x"'), "takes float"),
        (_GOOD.replace(b"1700000000000000000", b"9999999999999999999"), "64 bits"),
        (b"agent,agent=a,device=d lost=1 1", "takes int"),
        (b"agent,agent=a,device=d lost=9223372036854775808i 1", "takes int"),
    ],
)
def test_refuses_with_the_reason(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidLine, match=reason):
        parse_line(line)

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector.lines import InvalidLine, parse_line
from village_collector.stores.influx import guard
from village_collector.stores.influx.guard import Guard
from village_wire.points import KINDS, Value, encode_point

_NOW = time.time_ns()
_DAY = 86_400 * 10**9
_GOOD = b"sensor,agent=a-1,device=d-2 temperature_c=-1.5e-05,on=true,co2_ppm=1e+16 %d" % _NOW
_HEAD = b"sensor,agent=a,device=d "


def _values(wanted: type) -> st.SearchStrategy[Value]:
    if wanted is bool:
        return st.booleans()
    if wanted is int:
        return st.integers(-(2**63), 2**63 - 1)
    return st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def _lines(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(sorted(KINDS)))
    fields = draw(st.lists(st.sampled_from(sorted(KINDS[kind])), min_size=1, unique=True))
    values = {name: draw(_values(KINDS[kind][name])) for name in fields}
    ids = st.from_regex("[a-z0-9-]{1,32}", fullmatch=True)
    return encode_point(kind, draw(ids), draw(ids), values, draw(st.integers(_NOW - 2000 * _DAY, _NOW + _DAY // 2)))


def test_a_field_has_one_type_in_all_kinds_and_one_form_of_name() -> None:
    types: dict[str, type] = {}
    forms: dict[bytes, str] = {}
    for fields in KINDS.values():
        for name, wanted in fields.items():
            assert types.setdefault(name, wanted) is wanted
            assert forms.setdefault(name.encode().translate(None, b"0123456789"), name) == name


@given(st.lists(_lines(), min_size=1, max_size=20))
def test_whatever_agents_encode_passes_at_once(lines: list[bytes]) -> None:
    block = b"\n".join(lines)
    it = Guard()
    assert it.sift(block, _NOW) == (block, [])
    assert it.passes(block, _NOW)


@pytest.mark.parametrize(
    "bad",
    [
        _HEAD + b"value=1i %d" % _NOW,
        _HEAD + b"value=t %d" % _NOW,
        _HEAD + b'value="x" %d' % _NOW,
        _HEAD + b'value="x y" %d' % _NOW,
        _HEAD + b"on=1 %d" % _NOW,
        _HEAD + b"on=T %d" % _NOW,
        _HEAD + b"value=1u %d" % _NOW,
        _HEAD + b"value=NaN %d" % _NOW,
        _HEAD + b"value=1,value=2 %d" % _NOW,
        _HEAD + b"nonsense=1 %d" % _NOW,
        b"agent,agent=a,device=d lost=1.5 %d" % _NOW,
        b"sensor,agent=a,device=d,x=y value=1 %d" % _NOW,
        b"sensor,agent=a,device=d\\ x value=1 %d" % _NOW,
        b"sensor,agent=a,device=d\r value=1 %d" % _NOW,
        b"sensor,agent=a,device=D value=1 %d" % _NOW,
        _HEAD + b"value=1",
        _HEAD + b"value=1 ",
        _HEAD + b"value=1  ",
        _HEAD + b"value=1 %d\r" % _NOW,
        _HEAD + b"value=1 %d" % (_NOW + 3 * _DAY),
        _HEAD + b"value=1 -%d" % _NOW,
        b"sensor",
        _HEAD + _HEAD + b"%d" % _NOW,
    ],
)
def test_each_wrong_line_is_taken_out_and_the_others_stay(bad: bytes) -> None:
    it = Guard()
    for _ in range(2):
        good, refused = it.sift(b"\n".join((_GOOD, bad, _GOOD)), _NOW)
        assert good == _GOOD + b"\n" + _GOOD
        assert [line.line for line in refused] == [bad]
        assert refused[0].reason
        assert it.sift(bad, _NOW)[0] == b""


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), _lines(), st.text('sensor,agent=d v1i\\" \r.e-tf').map(str.encode)),
        max_size=8,
    )
)
def test_nothing_of_another_type_or_form_ever_passes(lines: list[bytes]) -> None:
    block = b"\n".join(lines)
    if not block:
        return
    good, bad = Guard().sift(block, _NOW)
    for line in good.split(b"\n") if good else []:
        reason = _reason(line)
        # What may pass: numbers that InfluxDB can't read or refuses, and a known field in a kind that has none such.
        assert not reason or any(word in reason for word in _NUMBERS), line
        assert b'"' not in line
        assert b"\\" not in line
    assert len(good) + len(bad) <= len(block) + len(lines)


_NUMBERS = ("takes float", "takes int", "has no field", "64 bits", "<kind>")


def _reason(line: bytes) -> str:
    try:
        parse_line(line)
    except InvalidLine as error:
        return str(error)
    return ""


def test_the_forms_it_remembers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_FORMS", 50)
    it = Guard()
    for n in range(500):
        name = "".join(chr(97 + int(digit)) for digit in str(n)).encode()
        assert it.passes(b"sensor,agent=%s,device=d value=1 %d" % (name, _NOW), _NOW)
        assert len(it._tags) <= 50

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_wire.areas import InvalidArea, chain, contains, level, parent, parse_area

LIN = "330110101205"


@pytest.mark.parametrize(
    ("code", "name", "above"),
    [
        ("330000000000", "province", None),
        ("330100000000", "prefecture", "330000000000"),
        ("330110000000", "county", "330100000000"),
        ("330110101000", "township", "330110000000"),
        (LIN, "village", "330110101000"),
        (f"{LIN}-g03", "grid", LIN),
        (f"{LIN}-g03-h012", "household", f"{LIN}-g03"),
        # Dongguan has townships and no counties.
        ("441900003000", "township", "441900000000"),
    ],
)
def test_levels(code: str, name: str, above: str | None) -> None:
    assert parse_area(code) == code
    assert level(code) == name
    assert parent(code) == above


@pytest.mark.parametrize(
    "text", ["", "33", "000000000000", f"{LIN}-h001", f"{LIN}-g3", f"{LIN} ", "330110101000-g01", "３３0110101205"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidArea):
        parse_area(text)


@given(st.text(max_size=40))
def test_any_text_is_an_area_or_refused(text: str) -> None:
    try:
        code = parse_area(text)
    except InvalidArea:
        return
    assert chain(code)[0] == code


@given(st.from_regex(r"[1-9][0-9]{11}(-g[0-9]{2}(-h[0-9]{3})?)?", fullmatch=True))
def test_a_chain_climbs_to_the_province(text: str) -> None:
    try:
        code = parse_area(text)
    except InvalidArea:
        return
    areas = chain(code)
    assert level(areas[-1]) == "province"
    assert len(set(areas)) == len(areas) <= 7
    assert all(contains(outer, code) for outer in areas)
    assert all(parse_area(area) == area for area in areas)
    assert not contains(code, areas[-1]) or len(areas) == 1

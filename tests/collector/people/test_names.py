"""One form of each name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector.people.names import MAX_NAME, InvalidName, normal_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Li", "li"),
        (" li ", "li"),
        ("陈站长", "陈站长"),
        ("ｌｉ", "li"),
        ("e\u0301mile", "émile"),
        ("a.b@c-d_e", "a.b@c-d_e"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert normal_name(text) == name


@pytest.mark.parametrize(
    "text", ["", " ", "-a", "_a", "a b", "a/b", "a\nb", "a\0", "..", "\u202eli", "x" * 41, "\ud800"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidName):
        normal_name(text)


@given(st.text(max_size=60))
def test_a_name_is_its_own_form_and_safe_to_print(text: str) -> None:
    try:
        name = normal_name(text)
    except InvalidName:
        return
    assert normal_name(name) == name == normal_name(f" {name} ")
    assert len(name) <= MAX_NAME
    assert name.isprintable()
    assert not set(name) & set(" /\\\"'`$;:<>|\n\t")

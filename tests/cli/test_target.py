from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_cli.target import InvalidTarget, Target, parse_device, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("441900003001", Target(area="441900003001")),
        ("440000000000", Target(area="440000000000")),
        ("441900003001-g02", Target(area="441900003001-g02")),
        ("441900003001-g02-h123", Target(area="441900003001-g02-h123")),
        ("gate-1", Target(agent="gate-1")),
        # Not twelve digits, or not followed like an area: an agent's id.
        ("44190000300", Target(agent="44190000300")),
        ("441900003001-box", Target(agent="441900003001-box")),
        ("gate-1/speaker", Target(agent="gate-1", device="speaker")),
        ("441900003001/speaker", Target(agent="441900003001", device="speaker")),
        ("tag:school", Target(tags=("school",))),
        ("441900003001/tag:clinic,school", Target(area="441900003001", tags=("clinic", "school"))),
        ("gate-1/tag:school", Target(agent="gate-1", tags=("school",))),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text
    assert {key for key, value in target.document().items() if value} == set(target.document())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "gate-1/",
        "/speaker",
        "a/b/c",
        "tag:",
        "/tag:school",
        "tag:School",
        "tag:school\n",
        "tag:a,,b",
        "tag:a,b,c,d,e,f,g,h,i",
        "gate-1tag:school",
        "gate-1/speaker/tag:school",
        "441900003001/",
        "Gate",
        "gate 1",
        "gate-1\n",
        "gate-1/s\n",
        "村口",
        "a" * 33,
        "a/" + "b" * 65,
        "000000000000",
        "441900003001-g2",
        "441900003000-g02",
        "441900003001-g02-h1",
        "441900003001-g02\n",
    ],
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InvalidTarget):
        parse_target(text)


@pytest.mark.parametrize("text", ["gate-1", "441900003001"])
def test_a_device_needs_its_agent(text: str) -> None:
    with pytest.raises(InvalidTarget):
        parse_device(text)


@given(st.text() | st.text(string.digits + string.ascii_lowercase + "-/", max_size=30))
def test_whatever_the_text_only_the_own_error_is_raised(text: str) -> None:
    try:
        target = parse_target(text)
    except InvalidTarget:
        return
    assert str(target) == text
    # It can stand in an address as it is.
    assert set(text) <= set(string.digits + string.ascii_lowercase + "-/")


def test_a_tag_that_is_none_is_told_what_one_is() -> None:
    with pytest.raises(InvalidTarget) as refused:
        parse_target("tag:School")
    assert "a tag has 1 to 32 of a-z, 0-9 and -" in refused.value.sentence("en")
    assert "标签为 1 至 32 个" in refused.value.sentence("zh")

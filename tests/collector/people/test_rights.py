"""Rights within areas, over any set of grants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from village_collector.api.access import Caller
from village_collector.people.rights import (
    RIGHTS,
    RIGHTS_OF,
    ROLES,
    Grant,
    Right,
    areas_of,
    may,
    within,
)
from village_wire.areas import chain, parent

#: A province and two branches below it, down to a household; and a county under no prefecture.
LEAVES = ("441900003001-g01-h002", "441900004001", "440100000000", "441900003002", "110101001001")
AREAS = sorted({area for leaf in LEAVES for area in chain(leaf)})

areas = st.sampled_from(["", *AREAS])
grants = st.builds(Grant, st.sampled_from(ROLES), areas)
several = st.lists(grants, max_size=5)
rights = st.sampled_from(RIGHTS)


@given(several, rights, st.sampled_from(AREAS))
def test_what_holds_in_an_area_holds_in_all_below_it(held: list[Grant], right: Right, area: str) -> None:
    above = parent(area) or ""
    if may(held, right, above):
        assert may(held, right, area)


@given(several, grants, rights, areas)
def test_a_further_grant_takes_nothing_away(held: list[Grant], more: Grant, right: Right, area: str) -> None:
    if may(held, right, area):
        assert may([*held, more], right, area)


@given(several, rights, areas)
def test_nothing_is_held_without_a_grant_of_it(held: list[Grant], right: Right, area: str) -> None:
    reason = [grant for grant in held if right in RIGHTS_OF[grant.role] and within(grant.area, area)]
    assert may(held, right, area) == bool(reason)
    assert not may([], right, area)


@given(several, rights, areas)
def test_the_areas_of_a_right_are_where_it_is_held(held: list[Grant], right: Right, area: str) -> None:
    found = areas_of(held, right)
    if found is None:
        assert may(held, right, "")
    else:
        assert may(held, right, area) == any(within(one, area) for one in found)
        assert not any(one != other and within(one, other) for one in found for other in found)


@given(several, several)
def test_who_passes_grants_on_gives_no_right_that_they_lack(held: list[Grant], wanted: list[Grant]) -> None:
    every = [(right, area) for right in RIGHTS for area in ("", *AREAS)]
    more = [place for place in every if may([*held, *wanted], *place) and not may(held, *place)]
    if Caller("li", "", tuple(held), "").covers(wanted):
        assert not more


@given(several, st.none() | several, several)
def test_only_who_administers_a_place_passes_its_rights_on(
    held: list[Grant], narrowed: list[Grant] | None, wanted: list[Grant]
) -> None:
    caller = Caller("li", "", tuple(held), "", None if narrowed is None else tuple(narrowed))
    if caller.covers(wanted):
        for grant in wanted:
            assert caller.may("administer", grant.area)
            assert all(caller.may(right, grant.area) for right in RIGHTS_OF[grant.role])


@given(several, st.none() | several, rights, areas)
def test_a_token_never_has_more_than_its_person_nor_than_itself(
    held: list[Grant], narrowed: list[Grant] | None, right: Right, area: str
) -> None:
    caller = Caller("li", "", tuple(held), "", None if narrowed is None else tuple(narrowed))
    assert caller.may(right, area) == (may(held, right, area) and (narrowed is None or may(narrowed, right, area)))
    found = caller.areas(right)
    assert caller.holds(right) == (found is None or bool(found))
    if found is not None:
        assert caller.may(right, area) == any(within(one, area) for one in found)
    else:
        assert caller.may(right, "")

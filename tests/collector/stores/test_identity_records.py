"""Tokens that work once, certificates that follow one another, and revocation, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count

import pytest

from tests.collector.kit import OTHER, T0, VILLAGE, at
from village_collector.stores.control import ControlStore
from village_collector.stores.identity_records import Enrolled, EnrolmentRefused, UnknownToken
from village_collector.trust.authority import Issued

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
TOKEN, SECOND_TOKEN = "aa" * 32, "bb" * 32
KEY, OTHER_KEY, THIRD_KEY = "01" * 32, "02" * 32, "03" * 32
COLLECTOR = "village_collector-0123456789abcdef"


class Press:
    """Stands for the authority: its certificates are numbered."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count(1)

    def issue(self, agent: str, key: str, now: datetime = T0, life: timedelta = YEAR) -> Issued:
        serial = f"{next(self._numbers):x}"
        return Issued(agent, f"certificate {serial}", None, serial, key, now, now + life)


@pytest.fixture
def press() -> Press:
    return Press()


def add(control: ControlStore, token: str = TOKEN, agent: str = "gate-1", area: str = VILLAGE) -> None:
    control.add_enrolment(token, agent, area, "li", T0, T0 + DAY)


def use(control: ControlStore, press: Press, token: str = TOKEN, key: str = KEY, now: datetime = T0) -> Enrolled:
    return control.use_enrolment(token, key, now, lambda agent: press.issue(agent, key, now))


def renew(control: ControlStore, press: Press, serial: str, key: str, now: datetime) -> Enrolled:
    return control.renew(serial, key, now, lambda agent: press.issue(agent, key, now))


def test_a_token_gives_a_certificate_and_makes_the_agent_known(control: ControlStore, press: Press) -> None:
    add(control)
    assert control.active_agents() == []
    pending = control.known_identities(T0)["gate-1"]
    assert (pending.area, pending.enrolled, pending.token_expires) == (VILLAGE, None, T0 + DAY)
    assert use(control, press) == Enrolled("gate-1", VILLAGE, "certificate 1", repeated=False)
    assert control.active_agents() == [("gate-1", VILLAGE)]
    known = control.known_identities(T0)["gate-1"]
    assert (known.enrolled, known.revoked, known.expires, known.token_expires) == (T0, None, T0 + YEAR, None)


def test_the_same_box_gets_the_same_answer_again_and_another_box_gets_none(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    revision = control.trust_revision()
    assert use(control, press, now=at(60)) == Enrolled("gate-1", VILLAGE, "certificate 1", repeated=True)
    with pytest.raises(EnrolmentRefused, match="used before, by another box") as refused:
        use(control, press, key=OTHER_KEY)
    assert (refused.value.agent, refused.value.area) == ("gate-1", VILLAGE)
    assert control.trust_revision() == revision, "nothing changed"
    with pytest.raises(EnrolmentRefused, match="expired"):
        use(control, press, now=T0 + DAY)


def test_of_many_boxes_with_one_token_one_wins(control: ControlStore, press: Press) -> None:
    add(control)

    def attempt(number: int) -> bool:
        try:
            use(control, press, key=f"{number:064x}")
        except EnrolmentRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_unknown_and_expired_tokens_give_nothing(control: ControlStore, press: Press) -> None:
    with pytest.raises(UnknownToken):
        use(control, press)
    add(control)
    with pytest.raises(EnrolmentRefused, match="the token expired"):
        use(control, press, now=T0 + DAY)
    assert control.active_agents() == []
    # Long after, nobody remembers it.
    control.add_enrolment(SECOND_TOKEN, "gate-2", VILLAGE, "li", T0 + 40 * DAY, T0 + 41 * DAY)
    with pytest.raises(UnknownToken):
        use(control, press, now=T0 + 40 * DAY)


def test_a_second_token_replaces_the_first_and_then_the_credentials(control: ControlStore, press: Press) -> None:
    add(control)
    add(control, SECOND_TOKEN, area=OTHER)
    with pytest.raises(UnknownToken):
        use(control, press)
    use(control, press, SECOND_TOKEN)
    add(control, TOKEN)
    assert control.active_agents() == [("gate-1", OTHER)], "a token alone changes nothing"
    assert control.revoked_certificates(T0) == []
    use(control, press, TOKEN, OTHER_KEY, at(10))
    assert control.active_agents() == [("gate-1", VILLAGE)]
    assert control.revoked_certificates(T0) == [("1", at(10))]
    with pytest.raises(EnrolmentRefused, match="the certificate that the token gave is revoked"):
        use(control, press, SECOND_TOKEN, KEY)


def test_two_certificates_count_after_a_renewal(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    assert renew(control, press, "1", OTHER_KEY, at(10)).certificate == "certificate 2"
    # The answer got lost: the box asks again, with the same request.
    again = renew(control, press, "1", OTHER_KEY, at(20))
    assert (again.certificate, again.repeated) == ("certificate 2", True)
    assert control.revoked_certificates(T0) == []
    # It lost its new key too.
    assert renew(control, press, "1", THIRD_KEY, at(30)).certificate == "certificate 3"
    assert [serial for serial, _ in control.revoked_certificates(T0)] == ["2"]
    # Now it shows the new one, so the first is over.
    assert renew(control, press, "3", OTHER_KEY, at(40)).certificate == "certificate 4"
    assert [serial for serial, _ in control.revoked_certificates(T0)] == ["1", "2"]
    for old in ("1", "2"):
        with pytest.raises(EnrolmentRefused, match="is revoked"):
            renew(control, press, old, KEY, at(50))


def test_a_key_that_stays_gets_a_new_certificate_all_the_same(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    renewed = renew(control, press, "1", KEY, at(10))
    assert (renewed.certificate, renewed.repeated) == ("certificate 2", False)
    assert renew(control, press, "1", KEY, at(20)).repeated
    assert renew(control, press, "2", KEY, at(30)).certificate == "certificate 3"


def test_what_is_over_or_not_an_agents_is_not_renewed(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    control.record_certificate(press.issue(COLLECTOR, OTHER_KEY), T0)
    for serial, now, why in (
        ("1", T0 + YEAR, "the certificate expired"),
        ("2", T0, "not an agent's"),
        ("77", T0, "records don't hold"),
    ):
        with pytest.raises(EnrolmentRefused, match=why):
            renew(control, press, serial, THIRD_KEY, now)
    assert control.revoked_certificates(T0) == []


def test_a_lost_box_keeps_nothing(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    renew(control, press, "1", OTHER_KEY, at(10))
    add(control, SECOND_TOKEN)
    assert control.revoke("gate-1", at(20))
    assert control.active_agents() == []
    assert control.revoked_agents() == {"gate-1"}
    assert control.revoked_certificates(at(20)) == [("1", at(20)), ("2", at(20))]
    assert control.known_identities(at(20))["gate-1"].revoked == at(20)
    for serial in ("1", "2"):
        with pytest.raises(EnrolmentRefused, match="is revoked"):
            renew(control, press, serial, THIRD_KEY, at(30))
    for token, why in ((TOKEN, "revoked"), (SECOND_TOKEN, "unknown")):
        with pytest.raises(EnrolmentRefused, match=why):
            use(control, press, token, KEY, at(30))
    revision = control.trust_revision()
    assert not control.revoke("gate-1", at(40)), "there is nothing more to take"
    assert not control.revoke("gate-9", at(40))
    assert control.trust_revision() == revision


def test_a_box_that_was_found_enrols_anew(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    control.revoke("gate-1", at(10))
    add(control, SECOND_TOKEN)
    assert control.active_agents() == [], "the token must be used first"
    use(control, press, SECOND_TOKEN, OTHER_KEY, at(20))
    assert control.active_agents() == [("gate-1", VILLAGE)]
    assert control.revoked_agents() == frozenset()
    assert [serial for serial, _ in control.revoked_certificates(T0)] == ["1"]


def test_the_list_of_revoked_certificates_stays_short(control: ControlStore, press: Press) -> None:
    add(control)
    use(control, press)
    control.revoke("gate-1", at(10))
    assert control.revoked_certificates(T0 + YEAR), "a broker's clock may be late"
    assert control.revoked_certificates(T0 + YEAR + DAY) == []
    control.record_certificate(press.issue(COLLECTOR, KEY), T0 + YEAR + 31 * DAY)
    with pytest.raises(EnrolmentRefused, match="records don't hold"):
        renew(control, press, "1", OTHER_KEY, T0)


def test_a_serial_number_tells_whose_the_certificate_was(control: ControlStore, press: Press) -> None:
    for number in range(3):
        add(control, f"{number:064x}", f"gate-{number}")
        use(control, press, f"{number:064x}", f"{number:064x}")
    control.revoke("gate-1", T0)
    assert control.certificate_names(["2", "3", "ff"]) == {"2": "gate-1", "3": "gate-2"}
    assert control.certificate_names([f"{n:x}" for n in range(2000)]).keys() == {"1", "2", "3"}
    assert control.certificate_names([]) == {}


def test_collectors_have_names_of_their_own(control: ControlStore, press: Press) -> None:
    for name in (COLLECTOR, COLLECTOR, "village_server", "villageXcollector-1"):
        control.record_certificate(press.issue(name, KEY), T0)
    assert control.collector_subjects() == [COLLECTOR]


def test_each_change_shows_in_the_revision(control: ControlStore, press: Press) -> None:
    seen = [control.trust_revision()]

    def noted() -> None:
        seen.append(control.trust_revision())

    add(control)
    noted()
    use(control, press)
    noted()
    renew(control, press, "1", OTHER_KEY, at(10))
    noted()
    control.revoke("gate-1", at(20))
    noted()
    control.record_certificate(press.issue(COLLECTOR, KEY), T0)
    noted()
    assert seen == sorted(set(seen))
    control.close()
    control.open()
    assert control.trust_revision() == seen[-1]


def test_a_stop_before_the_end_leaves_the_token_unused(control: ControlStore, press: Press) -> None:
    add(control)

    def fail(agent: str) -> Issued:
        raise RuntimeError(agent)

    with pytest.raises(RuntimeError, match="gate-1"):
        control.use_enrolment(TOKEN, KEY, T0, fail)
    assert control.active_agents() == []
    assert not use(control, press).repeated

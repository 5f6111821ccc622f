"""Reading alerts: the standard's own, made-up ones, any that can be written, and hostile ones."""

from __future__ import annotations

from datetime import UTC, datetime

import capparser  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.cap.kit import EXAMPLES, example, rainstorm
from tests.collector.cap.strategies import alerts
from village_collector.cap.alert import Alert, Pair, Reference
from village_collector.cap.document import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, InvalidAlert
from village_collector.cap.reading import NAMESPACE, read_alert
from village_collector.cap.writing import write_alert

GOOD = write_alert(rainstorm()).decode()


@given(alerts)
def test_whatever_is_written_is_read_the_same(alert: Alert) -> None:
    assert read_alert(write_alert(alert)) == alert


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_bring_it_down(content: bytes) -> None:
    with pytest.raises(InvalidAlert):
        read_alert(content)


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.text(max_size=8))
def test_no_change_of_a_good_alert_brings_it_down(start: int, length: int, put: str) -> None:
    try:
        read_alert((GOOD[:start] + put + GOOD[start + length :]).encode())
    except InvalidAlert:
        return


def test_the_standards_own_examples() -> None:
    storm = read_alert(example("oasis_a2"))
    assert storm.reference == Reference(
        "KSTO@NWS.NOAA.GOV", "KSTO1055887203", datetime(2003, 6, 17, 21, 57, tzinfo=UTC)
    )
    (info,) = storm.infos
    assert (info.urgency, info.severity, info.certainty) == ("Immediate", "Severe", "Observed")
    assert (info.language, info.categories, info.response_types) == ("en-US", ("Met",), ("Shelter",))
    assert info.event_codes == (Pair("SAME", "SVR"),)
    (place,) = info.places
    assert [code.value for code in place.geocodes] == ["006109", "006009", "006003"]
    assert len(place.polygons) == 1
    quake = read_alert(example("oasis_a3"))
    assert quake.references == (
        Reference("trinet@caltech.edu", "TRI13970876.1", datetime(2003, 6, 12, 3, 30, tzinfo=UTC)),
    )
    assert quake.infos[0].places[0].circles == ("32.9525,-115.5527 0",)
    assert [info.language for info in read_alert(example("oasis_a4")).infos] == ["en-US", "es-US"]
    assert read_alert(example("oasis_a1")).infos[0].resources[0].mime_type == "image/gif"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_read_and_written(name: str) -> None:
    alert = read_alert(example(name))
    assert read_alert(write_alert(alert)) == alert


@pytest.mark.parametrize("name", EXAMPLES)
def test_another_program_reads_what_we_write_and_writes_what_we_read(name: str) -> None:
    ours = read_alert(example(name))
    theirs = capparser.parse(stringXML=write_alert(ours))
    assert (theirs.getIdentifier(), theirs.getSender()) == (ours.identifier, ours.sender)
    assert (str(theirs.getStatus()), str(theirs.getMsgType())) == (ours.status, ours.message_type)
    assert len(theirs.getInfos()) == len(ours.infos)
    for info, other in zip(ours.infos, theirs.getInfos(), strict=True):
        assert [place.description for place in info.places] == [area.areaDesc[0] for area in other.area[0]]
    assert read_alert(capparser.deparse(theirs)) == ours


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed("<status>Actual", "<status>actual"), "status: 'actual' is none of Actual,"),
        (changed("<status>Actual</status>", ""), "status: missing"),
        (changed("<status>Actual</status>", "<status>Actual</status>" * 2), "status: stands 2 times"),
        (changed("<identifier>rain-1", "<identifier>rain 1"), "identifier: must hold no space"),
        (changed("<sender>", "<sender>a,"), "sender: must hold no space, comma"),
        (changed("<severity>Severe", "<severity>Red"), "info 1, severity: 'Red' is none of"),
        (changed("<msgType>Alert", "<msgType>Update"), "references: missing: Update says by them"),
        (
            changed("<scope>Public</scope>", "<scope>Public</scope><references>a,b</references>"),
            "the 1. is not sender,",
        ),
        (changed("<event>暴雨", "<event><b/>暴雨"), "info 1, event: holds elements"),
        (
            changed("441900003001</value>", "4419</value></geocode><geocode><value>1</value>"),
            "info 1, area 1, geocode 2, valueName: missing",
        ),
        (
            changed("+00:00</expires>", "</expires>")
            if "+00:00</expires>" in GOOD
            else changed("-00:00</expires>", "</expires>"),
            "info 1, expires: '2026-11-24T11:00:30' is not a time",
        ),
        (changed("2026-11-24T11:00:30", "2026-02-30T11:00:30"), "info 1, expires: "),
        (changed("cap:1.2", "cap:1.1"), "version 1.1 of the protocol is not taken"),
        (changed(NAMESPACE, "urn:other"), "the root is '{urn:other}alert'"),
        (changed("暴雨橙色预警", "雨" * 20_001), "info 1, headline: 20001 characters"),
        (GOOD[:-3], "not well-formed XML"),
        ("", "not well-formed XML"),
    ],
)
def test_an_error_says_where_and_why(content: str, reason: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        read_alert(content.encode())
    assert reason in str(caught.value)


def test_a_comment_does_not_cut_a_text_off() -> None:
    alert = read_alert(changed("暴雨橙色预警", "暴雨<!-- 解除 -->橙色<?x y?>预警").encode())
    assert alert.infos[0].headline == "暴雨橙色预警"


def test_the_form_of_utc_with_z_is_taken_too() -> None:
    alert = read_alert(changed("2026-11-24T11:00:30-00:00", "2026-11-24T11:00:30Z").encode())
    assert alert.infos[0].expires == datetime(2026, 11, 24, 11, 0, 30, tzinfo=UTC)


BILLION = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD.replace("?>", "?>" + BILLION, 1).replace("暴雨橙色预警", "&b;"), "DOCTYPE"),
        (GOOD.replace("?>", '?><!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd">', 1), "DOCTYPE"),
        (
            GOOD.replace("?>", '?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', 1).replace(
                "暴雨橙色预警", "&x;"
            ),
            "DOCTYPE",
        ),
        (GOOD.replace("暴雨橙色预警", "&undeclared;"), "not well-formed"),
        ("<a>" * 200 + "</a>" * 200, f"deeper than {MAX_DEPTH} levels"),
        ("<a>" * 300_000, "not well-formed"),
        ("<a>" + "<b/>" * MAX_ELEMENTS + "</a>", f"more than {MAX_ELEMENTS} elements"),
        ("<a>" + " " * MAX_BYTES + "</a>", "over the limit"),
        ("<a " + "x" * 300_000 + "='1'/>", "not well-formed"),
        (GOOD.replace("UTF-8", "EBCDIC-XX", 1), "not"),
    ],
)
def test_xml_gets_no_power(content: str, reason: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        read_alert(content.encode())
    assert reason in str(caught.value)
    assert "root:" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_document_of_another_encoding_is_read() -> None:
    text = GOOD.replace("UTF-8", "GB18030", 1)
    assert read_alert(text.encode("gb18030")) == rainstorm()

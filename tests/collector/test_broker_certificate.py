"""The collector's own certificate at a broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from village_collector.broker_certificate import BrokerCertificate, name_at_broker, own_address, shows_own
from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem
from village_collector.sections import BrokerSection, CollectorSection
from village_collector.trust.authority import OWN_LIFE, Authority, Issued, load_authority

NAME, OTHER = "village_collector-" + "0" * 16, "village_collector-" + "1" * 16


class Desk:
    """A folder, its authority, a clock and the record of what was issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority: Authority = load_authority(folder, make=True)
        self.time = datetime.now(UTC)
        self.recorded: list[Issued] = []

    def certificate(self, name: str = NAME, authority: Authority | None = None) -> BrokerCertificate:
        def record(issued: Issued, _: datetime) -> None:
            self.recorded.append(issued)

        return BrokerCertificate(self.folder, authority or self.authority, name, record, lambda: self.time)

    def on_disk(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "broker.pem").read_bytes())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_one_is_issued_recorded_and_kept(desk: Desk) -> None:
    assert desk.certificate().load()
    assert not desk.certificate().load()
    assert [(issued.subject, issued.serial) for issued in desk.recorded] == [
        (NAME, f"{desk.on_disk().serial_number:x}")
    ]
    assert (desk.folder / "broker.key").stat().st_mode & 0o777 == 0o600


def test_it_is_renewed_long_before_its_end(desk: Desk) -> None:
    desk.certificate().load()
    first = desk.on_disk()
    desk.time += OWN_LIFE / 2
    assert not desk.certificate().load()
    desk.time += OWN_LIFE / 5
    assert desk.certificate().load()
    assert desk.time < first.not_valid_after_utc < desk.on_disk().not_valid_after_utc


def test_what_will_not_do_is_issued_anew(desk: Desk, tmp_path: Path) -> None:
    desk.certificate().load()
    assert desk.certificate(OTHER).load()
    (desk.folder / "broker.key").chmod(0o644)
    assert desk.certificate(OTHER).load()
    (desk.folder / "broker.key").write_text("")
    assert desk.certificate(OTHER).load()
    (tmp_path / "other").mkdir()
    assert desk.certificate(OTHER, load_authority(tmp_path / "other", make=True)).load()
    desk.time -= timedelta(days=2)
    assert desk.certificate(OTHER).load()


def test_what_can_not_be_issued_says_why(desk: Desk) -> None:
    with pytest.raises(DataDirProblem, match="not the name of a collector"):
        desk.certificate("lin").load()
    with pytest.raises(DataDirProblem, match="remove the file"):
        name_at_broker("my-collector")
    (desk.folder / "broker.key").mkdir()
    with pytest.raises(DataDirProblem, match=r"broker\.key"):
        desk.certificate().load()


@pytest.mark.parametrize(
    ("table", "own"),
    [
        ({"url": "mqtts://b"}, True),
        ({"url": "mqtts://b", "ca_file": "ca"}, True),
        ({"url": "mqtt://b"}, False),
        ({}, False),
        ({"url": "mqtts://b", "username": "u"}, False),
        ({"url": "mqtts://b", "certificate_file": "c", "key_file": "k"}, False),
    ],
)
def test_it_is_shown_where_nothing_else_is_set(table: dict[str, str], own: bool, tmp_path: Path) -> None:
    broker = BrokerSection.model_validate(table)
    assert shows_own(broker) == own
    settings = Settings(collector=CollectorSection(data_dir=tmp_path), broker=broker)
    address = own_address(settings, "mqtts://b" if own else "mqtt://b")
    assert (address.certificate_file == tmp_path / "broker.pem") == own
    if own:
        assert address.ca_file == (Path("ca") if "ca_file" in table else tmp_path / "ca.pem")

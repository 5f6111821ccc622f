"""Settings that are refused, and secrets that stay secret."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.drivers.osdp.bench import KEY
from village_drivers.kit import DriverConfig
from village_drivers.osdp.config import BusConfig


def config(*readers: dict[str, Any]) -> BusConfig:
    return BusConfig.model_validate({"id": "bus", "driver": "osdp", "port": "/dev/ttyUSB0", "readers": readers})


@pytest.mark.parametrize(
    ("reader", "problem"),
    [
        ({}, "needs scbk or scbk_file"),
        ({"scbk": "00"}, "32 hexadecimal digits"),
        ({"scbk": "0 " * 16}, "32 hexadecimal digits"),
        ({"scbk": KEY.hex(), "scbk_file": "/etc/key"}, "not both"),
        ({"scbk": KEY.hex(), "secure": False}, "takes no key"),
        ({"scbk": KEY.hex(), "address": 127}, "less than or equal to 126"),
        ({"scbk": KEY.hex(), "output": 256}, "less than or equal to 255"),
    ],
)
def test_a_wrong_reader_is_refused(reader: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config({"id": "gate", "address": 1} | reader)


@pytest.mark.parametrize("field", ["id", "address"])
def test_readers_differ(field: str) -> None:
    first = {"id": "a", "address": 1, "secure": False}
    with pytest.raises(ValidationError, match=f"two readers have the {field}"):
        config(first, {"id": "b", "address": 2, "secure": False, field: first[field]})


def test_the_key_is_not_shown() -> None:
    whole = config({"id": "gate", "address": 1, "scbk": KEY.hex()})
    assert KEY.hex() not in repr(whole) + str(whole) + whole.model_dump_json()
    assert whole.readers[0].load_key() == KEY


def test_every_field_is_described() -> None:
    for model in (BusConfig, type(config({"id": "gate", "address": 1, "secure": False}).readers[0])):
        for name, field in model.model_fields.items():
            if name in DriverConfig.model_fields and model is BusConfig:
                continue
            assert field.description, name
            assert field.examples, name

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from village_drivers.kit import DriverConfig
from village_drivers.modbus.blocks import blocks_of
from village_drivers.modbus.config import ModbusConfig


def _config(**more: Any) -> ModbusConfig:
    return ModbusConfig.model_validate({"id": "board", "driver": "modbus", "port": "/dev/ttyUSB0", **more})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"relays": [{"id": "a", "coil": 0}], "host": "x"}, "either `port`"),
        ({"relays": [{"id": "a", "coil": 0}], "port": None}, "either `port`"),
        ({}, "at least one"),
        ({"relays": [{"id": "a", "coil": 0}], "inputs": [{"id": "a", "input": 0}]}, "id a is used twice"),
        ({"relays": [{"id": "a", "coil": 0}, {"id": "b", "coil": 0}]}, "coil 0 is used twice"),
        ({"relays": [{"id": "a", "coil": 0}], "unit": 248}, "247"),
        ({"relays": [{"id": "a", "coil": 70000}]}, "65535"),
        ({"registers": [{"id": "a", "register": 0, "scale": float("inf")}]}, "finite"),
    ],
)
def test_wrong_settings_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _config(**more)


def test_neighbours_are_read_together_and_gaps_are_not_read() -> None:
    config = _config(
        relays=[{"id": f"r{at}", "coil": at} for at in (3, 0, 1, 2, 8)],
        registers=[{"id": "h", "register": 5}, {"id": "i", "register": 5, "table": "input"}],
    )
    blocks = blocks_of(config)
    assert [str(block) for block in blocks] == ["coil 0 to 3", "coil 8", "holding register 5", "input register 5"]
    assert [entry.id for entry in blocks[0].entries] == ["r0", "r1", "r2", "r3"]


def test_a_request_never_asks_for_more_than_the_protocol_allows() -> None:
    config = _config(registers=[{"id": f"r{at}", "register": at} for at in range(200)])
    assert [block.request.count for block in blocks_of(config)] == [125, 75]


def test_every_field_has_a_description_and_an_example() -> None:
    for name, field in ModbusConfig.model_fields.items():
        if name == "driver" or name not in DriverConfig.model_fields:
            assert field.description, name
            assert field.examples, name

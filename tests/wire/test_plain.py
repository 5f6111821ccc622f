"""What pydantic refuses, in words for people."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from village_wire.ids import AgentId, DeviceId
from village_wire.plain import plain_reason


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agent: AgentId = "a"
    device: DeviceId = "d"
    count: int = 1
    words: tuple[str, ...] = ()

    @field_validator("count")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("write an odd number")
        return value


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"agent": "Gate_1"}, "write 1 to 32 of a-z, 0-9 and -"),
        ({"device": "Ü"}, "write 1 to 64 of a-z, 0-9 and -"),
        ({"count": 2}, "write an odd number"),
        ({"colour": 1}, "unknown key"),
        ({"words": "one"}, 'write a list, as ["one", "another"]'),
    ],
)
def test_what_is_wrong_is_told_without_patterns_and_insides(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Model.model_validate(given)
    assert [plain_reason(error) for error in caught.value.errors()] == [reason]

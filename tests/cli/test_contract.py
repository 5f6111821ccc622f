"""What the tests answer with is what the collector's API answers with, member by member."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.cli import canned
from village_collector.api.agents import AgentsDocument, AgentTokenDocument
from village_collector.api.commands import CommandDocument, CommandsDocument
from village_collector.api.dead_letters import DeadLettersDocument
from village_collector.api.devices import DeviceDocument, DevicesDocument, HistoryDocument
from village_collector.api.events import EventsDocument
from village_collector.api.health import HealthDocument
from village_collector.api.login import LoginDocument, MeDocument, TotpDocument
from village_collector.api.people import PersonDocument, PersonsDocument
from village_collector.api.problems import ProblemDocument
from village_collector.api.tokens import TokenDocument, TokensDocument

DOCUMENTS: list[tuple[Any, dict[str, Any]]] = [
    (HealthDocument, canned.MIXED),
    (AgentsDocument, canned.AGENTS),
    (DevicesDocument, canned.DEVICES),
    (DeviceDocument, canned.ONE_DEVICE),
    (HealthDocument, canned.health(canned.AGENT)),
    (DeviceDocument, canned.ONE_AGENT),
    (HistoryDocument, canned.TEMPERATURES),
    (EventsDocument, canned.events(canned.STARTED, canned.TAMPER)),
    (CommandDocument, canned.command("done", [canned.result("gate-1", "done")])),
    (CommandsDocument, canned.COMMANDS),
    (DeadLettersDocument, canned.LETTERS),
    (LoginDocument, canned.LOGIN),
    (MeDocument, canned.ME),
    (TotpDocument, canned.NEW_TOTP),
    (PersonsDocument, canned.PERSONS),
    (PersonDocument, canned.ONE_PERSON),
    (PersonDocument, canned.NEW_PERSON),
    (TokensDocument, canned.TOKENS),
    (TokenDocument, canned.NEW_TOKEN),
    (AgentTokenDocument, canned.AGENT_TOKEN),
    (ProblemDocument, canned.problem(404, "x", "", "")),
]


@pytest.mark.parametrize(("model", "document"), DOCUMENTS)
def test_canned_documents_are_the_collectors(model: Any, document: dict[str, Any]) -> None:
    adapter = TypeAdapter(model)
    # A member that the API does not know would be dropped, one that it requires would be missed.
    assert adapter.dump_python(adapter.validate_python(document), mode="json") == document

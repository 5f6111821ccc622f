"""Every operation of the API with a request that is good enough to be judged by rights, not by its form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import yaml
from fastapi import FastAPI

from tests.collector.kit import VILLAGE
from village_collector.api.app import PREFIX
from village_collector.api.commands import NOT_ALONE, RIGHTS_OF_KINDS
from village_collector.people.rights import Role

ROLES: tuple[Role, ...] = get_args(Role)
COLUMNS = ("nobody", *ROLES)
PASSWORD = "the right password"


@dataclass(frozen=True)
class Ask:
    """What stands in the path, the query and the body."""

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Place:
    """What a request is about."""

    agent: str = "gate-1"
    area: str = VILLAGE
    #: A person who holds a role there.
    person: str = "neighbour"
    command: str = "0" * 32
    #: The id of a token.
    token: str = "0" * 16


def role_table() -> dict[str, dict[str, str]]:
    """Operation -> column -> word."""
    rows = yaml.safe_load((Path(__file__).parent / "role_table.yaml").read_text())
    return {operation: dict(zip(COLUMNS, words, strict=True)) for operation, words in rows.items()}


def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Operation, as the table names it, -> its entry in the OpenAPI document."""
    found = {
        f"{method.upper()} {path.removeprefix(PREFIX)}": entry
        for path, methods in app.openapi()["paths"].items()
        for method, entry in methods.items()
    }
    issue = found.pop("POST /commands")
    kinds = RIGHTS_OF_KINDS.keys() - NOT_ALONE.keys()
    return found | {f"POST /commands {kind}": issue for kind in kinds}


def request(operation: str, place: Place) -> tuple[str, str, Ask]:
    """Method, path and the rest of a request for an operation about a place."""
    method, path = operation.split(" ")[:2]
    ask = _ask(operation, place)
    values = {
        "agent": place.agent,
        "device": "reader",
        "command": place.command,
        "broadcast": place.command,
        "alert": place.command,
        "person": place.person,
    }
    for key, value in {**values, "token": place.token, **ask.path}.items():
        path = path.replace(f"{{{key}}}", quote(value))
    return method, path, ask


def _ask(operation: str, place: Place) -> Ask:
    target = {"agent": place.agent}
    grant = {"role": "viewer", "area": place.area}
    commands = {
        "stop": Ask(body={"target": target, "arguments": {"kind": "stop"}}),
        "unlock": Ask(body={"target": target, "arguments": {"kind": "unlock"}}),
        "switch": Ask(body={"target": target, "arguments": {"kind": "switch", "on": True}}),
        "indicate": Ask(body={"target": target, "arguments": {"kind": "indicate"}}),
    }
    if operation.startswith("POST /commands "):
        return commands[operation.rpartition(" ")[2]]
    return {
        "POST /agents": Ask(body={"agent": "gate-new", "area": place.area}),
        "POST /enrolments": Ask(body={}),
        "POST /renewals": Ask(body={}),
        "GET /devices/{agent}/{device}/history": Ask(query={"field": "online"}),
        "POST /broadcasts": Ask(body={"targets": [target], "text": "大家好"}),
        "POST /live": Ask(body={"targets": [target]}),
        "POST /schedules": Ask(
            body={
                "target": target,
                "programmes": [
                    {
                        "id": "morning",
                        "title": "早间",
                        "when": {"start": "2026-11-24T06:30:00"},
                        "items": [{"text": "大家好"}],
                    }
                ],
            }
        ),
        "POST /schedules/remove": Ask(body={"target": target, "programmes": ["morning"]}),
        "GET /reports/publicity": Ask(query={"month": "2026-11"}),
        "GET /audio/{sha256}": Ask(path={"sha256": "0" * 64}),
        "POST /cameras/{agent}/{device}/snapshot": Ask(path={"device": "camera"}),
        "POST /login": Ask(body={"person": place.person, "password": PASSWORD}),
        "PUT /me/password": Ask(body={"password": PASSWORD, "new_password": "another good password"}),
        "POST /me/totp": Ask(body={}),
        "DELETE /me/totp": Ask(body={"password": PASSWORD, "code": "123456"}),
        "POST /persons": Ask(body={"person": "newcomer", "grants": [grant]}),
        "POST /persons/{person}/grants": Ask(body={"role": "broadcaster", "area": place.area}),
        "DELETE /persons/{person}/grants": Ask(query={"role": "broadcaster", "area": place.area}),
        "POST /tokens": Ask(body={"label": "a script", "days": 1}),
    }.get(operation, Ask())

"""The whole API against its own OpenAPI document: no fault, no answer that it does not describe, nothing for those who may not.

VILLAGE_API_EXAMPLES=500 sends so many requests for each operation and caller; the seed is in the failure and in VILLAGE_API_SEED.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, Response, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.collector.api.conftest import Collector
from tests.collector.kit import T0, VILLAGE, add_site
from tests.collector.people import add_caller, administrators_token
from village_collector.api.access import PUBLIC
from village_collector.api.app import PREFIX, create_app
from village_collector.people.rights import RIGHTS_OF, Grant
from village_collector.stores.control import ControlStore

EXAMPLES = int(os.environ.get("VILLAGE_API_EXAMPLES", "6"))
SEED = int(os.environ.get("VILLAGE_API_SEED", "0")) or SystemRandom().randrange(2**32)
#: Operations that answer so by design: a camera that gives nothing, a store that is away.
EXPECTED = {502, 503, 504}
CHECKS = [content_type_conformance, response_headers_conformance, response_schema_conformance, status_code_conformance]
KNOWN = {"agent": "gate-1", "device": "camera", "person": "neighbour"}


@schemathesis.serializer("audio/ogg", "audio/wav", "audio/mpeg", "image/jpeg", "application/octet-stream")
def _as_it_is(_context: SerializationContext, value: Any) -> bytes:
    return _content(value)


class World:
    """A whole application on its own event loop, and what callers show."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="api")
        self._thread.start()
        self.control = ControlStore(f"sqlite:///{folder / 'control.db'}")
        self.control.open()
        add_site(self.control)
        add_caller(self.control, "neighbour", Grant("viewer", VILLAGE), now=T0)
        self.collector = Collector(self.control, folder)
        self.app = create_app(dataclasses.replace(self.collector.deps, picture_seconds=0.05))
        self.schema = schemathesis.openapi.from_dict(self.app.openapi())
        #: Operations that did what they were asked for.
        self.done: set[str] = set()

    def token(self, caller: str) -> str:
        """A new one, since some operations end the one that they are called with."""
        if caller == "administrator":
            return administrators_token(self.control, T0)
        return add_caller(self.control, f"viewer-{os.urandom(4).hex()}", Grant("viewer", VILLAGE), now=T0)

    def send(self, case: Case[Any], token: str) -> Response:
        """Send a request and return the answer."""
        case.headers.pop("Authorization", None)
        wanted = case.as_transport_kwargs(base_url="http://127.0.0.1:8480")
        headers = {key: value for key, value in (wanted.get("headers") or {}).items() if key.lower() != "authorization"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = httpx.Request(
            wanted["method"],
            wanted["url"],
            params=wanted.get("params"),
            headers={key: str(value).encode(errors="replace") for key, value in headers.items()},
            **(
                {"json": wanted["json"]}
                if wanted.get("json") is not None
                else {"content": _content(wanted.get("data"))}
            ),
        )
        return Response.from_any(self.run(self._send(request)))

    def run(self, work: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(25)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app)) as client:
            return await client.send(request)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self.control.close()


def _content(data: Any) -> bytes:
    return data if isinstance(data, bytes) else str(data or "").encode(errors="replace")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    print(f"VILLAGE_API_SEED={SEED}")
    world = World(tmp_path_factory.mktemp("api"))
    yield world
    world.close()


@pytest.mark.parametrize("caller", ["administrator", "viewer", "nobody"])
@pytest.mark.timeout(60 * EXAMPLES)
def test_every_operation_answers_as_its_document_says(world: World, caller: str) -> None:
    problems = []
    for result in world.schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        name = f"{operation.method.upper()} {operation.path}"
        token = "" if caller == "nobody" else world.token(caller)

        try:
            attack(world, operation, name, token, caller)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - one operation's fault must not hide the others'
            told = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
            problems += [
                f"{name} as {caller}: {type(one).__name__}: {' '.join(str(one).split())}"[:600] for one in told
            ]
    # Most requests are in order, so that what lies behind the checks is reached.
    assert caller != "administrator" or len(world.done) > 15
    assert not problems, f"VILLAGE_API_SEED={SEED}\n" + "\n\n".join(problems)


def attack(world: World, operation: APIOperation[Any, Any, Any, Any], name: str, token: str, caller: str) -> None:
    good = operation.as_strategy()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=good | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        random=st.randoms(use_true_random=True),
    )
    def ask(case: Case[Any], random: Random) -> None:
        for key, value in KNOWN.items():
            if key in (case.path_parameters or {}) and random.random() < 0.5:
                case.path_parameters[key] = value
        judge(world, case, name, token, caller)

    ask()


def judge(world: World, case: Case[Any], name: str, token: str, caller: str) -> None:
    response = world.send(case, token)
    if response.status_code < 300:
        world.done.add(name)
    public = tuple(name.replace(PREFIX, "").split(" ")) in PUBLIC
    if response.status_code not in EXPECTED:
        case.validate_response(response, checks=[not_a_server_error])
    case.validate_response(response, checks=CHECKS)
    if caller == "nobody" and not public:
        # Also when the request is not in order: whoever has no login learns nothing about what would be.
        # What is too long is refused before anybody looks at it.
        assert response.status_code in {401, 413, 414, 431}, (
            f"nobody gets {response.status_code}: {response.text[:200]}"
        )
    right = case.operation.definition.raw.get("x-right", "login")
    if caller == "viewer" and not public and right not in {"login", *RIGHTS_OF["viewer"]}:
        assert response.status_code in {403, 404, 422, 400, 413, 414, 415}, f"a viewer gets {response.status_code}"

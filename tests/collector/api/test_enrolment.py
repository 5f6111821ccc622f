"""Enrolment from the token to the last certificate, as a box and an attacker see it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import OTHER, T0, VILLAGE, inventory, make_authority, signing_request
from tests.collector.people import add_caller
from village_collector.people.rights import Grant
from village_collector.stores.audit_tables import audit_entries
from village_collector.trust.attempts import MAX_WRONG
from village_wire import signed
from village_wire.command_keys import read_command_keys
from village_wire.enrolment import (
    RENEWAL_DOMAIN,
    Credentials,
    EnrolmentToken,
    fingerprint,
    read_enrolment,
    read_token,
)

HOUR = timedelta(hours=1)


class Box:
    """A box with its key. `client` shows no token of a person."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.key = generate_private_key(SECP256R1())

    async def enrol(self, token: str, request: str | None = None) -> httpx.Response:
        body = {"token": token, "request": request or signing_request(self.key)}
        return await self.client.post("/enrolments", json=body)

    async def renew(
        self, certificate: str, new: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey | None = None
    ) -> httpx.Response:
        request = signing_request(new)
        signed = RENEWAL_DOMAIN + x509.load_pem_x509_csr(request.encode()).public_bytes(Encoding.DER)
        signature = base64.b64encode((signer or self.key).sign(signed, ECDSA(SHA256()))).decode()
        body = {"certificate": certificate, "request": request, "signature": signature}
        return await self.client.post("/renewals", json=body)


def credentials(response: httpx.Response) -> Credentials:
    assert response.status_code == 201, response.text
    return read_enrolment(Credentials, response.content)


@pytest_asyncio.fixture
async def box(collector: Collector) -> Any:
    async with collector.client("") as client:
        yield Box(client)


async def add(client: httpx.AsyncClient, agent: str = "new-1", area: str = VILLAGE, **more: Any) -> str:
    response = await client.post("/agents", json={"agent": agent, "area": area, **more})
    return str(document(response, "agent-token", 201)["token"])


async def audit_of(collector: Collector, action: str) -> list[tuple[str, ...]]:
    """Actor, target, outcome, reason and area of what the audit log holds of an action."""
    rows = await asyncio.to_thread(_entries, collector)
    return [row[1:] for row in rows if row[0] == action]


def _entries(collector: Collector) -> list[tuple[str, ...]]:
    with collector.control._database.read() as connection:
        found = [
            json.loads(row.entry) for row in connection.execute(select(audit_entries).order_by(audit_entries.c.number))
        ]
    return [
        tuple(str(entry[name]) for name in ("action", "actor", "target", "outcome", "reason", "area"))
        for entry in found
    ]


async def test_a_token_makes_a_box_an_agent(collector: Collector, client: httpx.AsyncClient, box: Box) -> None:
    token = await add(client)
    read = read_token(token)
    authority = await box.client.get("/authority")
    assert authority.headers["content-type"] == "application/x-pem-file"
    pinned = x509.load_pem_x509_certificate(authority.content)
    assert fingerprint(pinned.public_bytes(Encoding.DER)) == read.fingerprint
    given = credentials(await box.enrol(token))
    certificate = x509.load_pem_x509_certificate(given.certificate.encode())
    certificate.verify_directly_issued_by(pinned)
    assert certificate.public_key() == box.key.public_key()
    assert [name.value for name in certificate.subject] == ["new-1"]
    assert (given.agent, given.area) == ("new-1", VILLAGE)
    assert given.authority == authority.text
    assert (given.broker, given.api) == ("mqtts://collector.village.example", "https://collector.village.example:8480")
    keys = read_command_keys(signed.encode(given.command_keys), collector.authority.key.public_key())
    assert keys.number == 3
    assert await audit_of(collector, "agent.add") == [("chief", "new-1", "allowed", "a token for 24 h", VILLAGE)]
    assert await audit_of(collector, "agent.enrol") == [("agent:new-1", "new-1", "allowed", "", VILLAGE)]


async def test_a_token_works_once_and_for_the_same_box_again(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    token = await add(client)
    first = credentials(await box.enrol(token))
    assert credentials(await box.enrol(token)).certificate == first.certificate
    thief = Box(box.client)
    assert "used before, by another box" in problem(await thief.enrol(token), 403)
    outcomes = [(row[0], row[2]) for row in await audit_of(collector, "agent.enrol")]
    assert outcomes == [("agent:new-1", "allowed"), ("agent:new-1", "allowed"), ("", "refused")]
    collector.now += 24 * HOUR
    assert "expired" in problem(await box.enrol(token), 403)


@pytest.mark.parametrize(("hours", "status"), [(0, 422), (1, 201), (168, 201), (169, 422)])
async def test_a_token_lives_for_a_week_at_most(client: httpx.AsyncClient, hours: int, status: int) -> None:
    response = await client.post("/agents", json={"agent": "new-1", "area": VILLAGE, "hours": hours})
    assert response.status_code == status


async def test_guesses_are_refused_told_alike_and_soon_not_looked_at(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    token = await add(client)
    good = read_token(token)
    guesses = [str(EnrolmentToken(bytes([number] * 16), good.fingerprint)) for number in range(MAX_WRONG)]
    details = {problem(await box.enrol(guess), 403) for guess in guesses}
    assert len(details) == 1
    response = await box.enrol(token)
    assert "try again in" in problem(response, 429)
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert len(await audit_of(collector, "agent.enrol")) == MAX_WRONG


async def test_what_is_no_token_or_no_request_is_named(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    token = await add(client)
    assert "ve1." in problem(await box.enrol("secret"), 422)
    assert "PEM" in problem(await box.enrol(token, "nonsense"), 422)
    other = str(EnrolmentToken(read_token(token).secret, make_authority().fingerprint))
    assert "another collector" in problem(await box.enrol(other), 403)
    for reason in [row[3] for row in await audit_of(collector, "agent.enrol")]:
        assert token not in reason
    assert credentials(await box.enrol(token)).agent == "new-1", "none of it has used the token"


async def test_renewal_needs_the_key_of_the_present_certificate(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    first = credentials(await box.enrol(await add(client))).certificate
    thief, following = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    assert "not signed with the key" in problem(await box.renew(first, thief, thief), 403)
    second = credentials(await box.renew(first, following))
    certificate = x509.load_pem_x509_certificate(second.certificate.encode())
    assert certificate.public_key() == following.public_key()
    assert [name.value for name in certificate.subject] == ["new-1"]
    assert credentials(await box.renew(first, following)).certificate == second.certificate
    assert [row[2] for row in await audit_of(collector, "agent.renew")] == ["refused", "allowed", "allowed"]


async def test_certificates_that_are_not_an_agents_are_not_renewed(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    await box.enrol(await add(client))
    new = generate_private_key(SECP256R1())
    foreign = make_authority().issue_agent(signing_request(box.key), "new-1", collector.now).pem
    own = collector.authority.issue_agent(signing_request(box.key), "new-1", collector.now).pem
    for text in (foreign, "nonsense", ""):
        assert "not a certificate of this collector's authority" in problem(await box.renew(text, new), 403)
    assert "don't hold the certificate" in problem(await box.renew(own, new), 403)
    # The authority's own certificate is genuine, but nobody's who asks.
    root = collector.authority.certificate_pem
    assert "not signed with the key" in problem(await box.renew(root, new), 403)


async def test_a_lost_box_is_shut_out_at_once(collector: Collector, client: httpx.AsyncClient, box: Box) -> None:
    token = await add(client)
    certificate = credentials(await box.enrol(token)).certificate
    shown = document(await client.post("/agents/new-1/revoke"), "agent")
    assert shown["revoked"] is not None
    assert shown["certificate_expires"] is None
    assert "revoked" in problem(await box.renew(certificate, generate_private_key(SECP256R1())), 403)
    assert "revoked" in problem(await box.enrol(token), 403)
    assert await audit_of(collector, "agent.revoke") == [("chief", "new-1", "allowed", "", VILLAGE)]
    assert problem(await client.post("/agents/nobody/revoke"), 404) == "no agent nobody"


async def test_an_agent_without_certificate_is_shut_out_too(collector: Collector, client: httpx.AsyncClient) -> None:
    await client.post("/agents/gate-1/revoke")
    assert await asyncio.to_thread(collector.control.revoked_agents) == {"gate-1"}


async def test_the_list_tells_who_is_enrolled(collector: Collector, client: httpx.AsyncClient, box: Box) -> None:
    token = await add(client, "gate-1")
    await add(client, "gate-0", hours=2)
    listed = document(await client.get("/agents"), "agents")["agents"]
    assert [entry["agent"] for entry in listed] == ["gate-0", "gate-1"]
    pending, present = listed
    assert (pending["online"], pending["enrolled"], pending["devices"]) == (None, None, 0)
    assert pending["token_expires"] == "2026-11-24T10:01:00.000000Z"
    assert (present["online"], present["enrolled"]) == (True, None)
    await box.enrol(token)
    present = document(await client.get("/agents"), "agents")["agents"][1]
    assert present["enrolled"] == "2026-11-24T08:01:00.000000Z"
    assert present["certificate_expires"] == "2027-11-24T08:01:00.000000Z"
    assert present["token_expires"] is None


async def test_a_maintainer_adds_and_revokes_within_the_own_area_only(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    grants = (Grant("maintainer", OTHER), Grant("viewer", VILLAGE))
    token = await asyncio.to_thread(add_caller, collector.control, "wang", *grants, now=collector.now)
    await add(client, "elsewhere-1", "110000000000")
    async with collector.client(token) as wang:
        assert document(await wang.post("/agents", json={"agent": "new-2", "area": OTHER}), "agent-token", 201)
        for agent, area in (("new-3", VILLAGE), ("gate-1", OTHER)):
            response = await wang.post("/agents", json={"agent": agent, "area": area})
            assert f"'maintain' in area {VILLAGE}" in problem(response, 403)
        # What is not seen is not told, not even where it is.
        response = await wang.post("/agents", json={"agent": "elsewhere-1", "area": OTHER})
        assert problem(response, 409) == "the name elsewhere-1 is taken"
        assert f"'maintain' in area {VILLAGE}" in problem(await wang.post("/agents/gate-1/revoke"), 403)
        for agent in ("elsewhere-1", "nobody"):
            assert problem(await wang.post(f"/agents/{agent}/revoke"), 404) == f"no agent {agent}"
        listed = document(await wang.get("/agents"), "agents")["agents"]
        assert [entry["agent"] for entry in listed] == ["gate-1", "new-2"]
    assert await asyncio.to_thread(collector.control.revoked_agents) == frozenset()
    refused = [row for row in await audit_of(collector, "agent.revoke") if row[2] == "refused"]
    assert [row[:2] for row in refused] == [("wang", "gate-1"), ("wang", "elsewhere-1"), ("wang", "nobody")]


async def test_ids_of_collectors_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/agents", json={"agent": "collector-1", "area": VILLAGE})
    assert "collectors'" in problem(response, 422)


async def test_a_box_is_where_it_was_enrolled_whatever_it_says(
    collector: Collector, client: httpx.AsyncClient, box: Box
) -> None:
    await box.enrol(await add(client))
    for told, known in ((OTHER, VILLAGE), (f"{VILLAGE}-g01", f"{VILLAGE}-g01")):
        await asyncio.to_thread(collector.control.store_inventory, inventory("new-1", area=told), T0)
        assert await asyncio.to_thread(collector.control.agent_area, "new-1") == known

"""Appears at the broker with certificates of minutes: to see whether it has read the present list, and to end an agent's connection.

A broker takes the name in a certificate for the client id, and a client id has one connection: whoever comes last ends the one before,
and a clean start throws away the messages that waited for it. Facts about mosquitto 2.0.11: no connection ends by itself when its
certificate is put on the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from village_collector.trust.authority import PROBE_NAME, Authority, Issued
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.connection import connect
from village_wire.tls import tls_context

_ANSWER_SECONDS = 5.0


@asynccontextmanager
async def identified(address: BrokerAddress, issued: Issued) -> AsyncIterator[BrokerAddress]:
    """Return an address that logs in with a certificate whose key is on no disk."""
    file = await asyncio.to_thread(_in_memory, issued)
    try:
        path = Path(f"/proc/self/fd/{file}")
        yield replace(address, username=None, password=None, certificate_file=path, key_file=path)
    finally:
        os.close(file)


async def has_read(address: BrokerAddress, authority: Authority, marker: int) -> bool:
    """Tell whether the broker refuses the certificate with this serial number because it is revoked.

    Raises:
        OSError, SessionError: it can't be reached or answers something else.
    """
    async with identified(address, authority.issue_passing(PROBE_NAME, _now(), marker)) as own:
        context = await asyncio.to_thread(tls_context, own)
    # There a server judges the certificate before the handshake ends; in 1.3 after it, and the answer may get lost.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=address.host
            )
    except ssl.SSLError as error:
        if "CERTIFICATE_REVOKED" in (error.reason or ""):
            return True
        raise
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return False


async def end_connection(address: BrokerAddress, authority: Authority, agent: str) -> None:
    """End an agent's connection, if it has one, and forget what waits for it; raises `SessionError`."""
    async with identified(address, authority.issue_passing(agent, _now())) as own, connect(SessionSettings(own, agent)):
        pass


def _in_memory(issued: Issued) -> int:
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.fchmod(file, 0o600)
        os.write(file, f"{issued.pem}{issued.key_pem or ''}".encode())
    except OSError:
        os.close(file)
        raise
    return file


def _now() -> datetime:
    return datetime.now(UTC)

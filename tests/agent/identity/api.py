"""A small HTTPS server that enrols agents by the contract, and misbehaves as a test wants."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.kit import AREA
from village_collector.trust.authority import Authority, load_authority
from village_wire import signed
from village_wire.command_keys import CommandKey, CommandKeys, sign_command_keys
from village_wire.enrolment import (
    Credentials,
    EnrolmentRequest,
    EnrolmentToken,
    RenewalRequest,
    read_enrolment,
)
from village_wire.signed import encode_public_key

COMMAND_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NEXT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SECRET = bytes(16)

Reply = tuple[int, dict[str, str], bytes]


def authority(folder: Path) -> Authority:
    folder.mkdir(exist_ok=True)
    return load_authority(folder, make=True)


def command_keys(*keys: Ed25519PrivateKey, number: int = 1, until: datetime | None = None) -> CommandKeys:
    """All end but the last."""
    named = [CommandKey(key=encode_public_key(key.public_key()), until=until) for key in keys[:-1]]
    return CommandKeys(number=number, keys=(*named, CommandKey(key=encode_public_key(keys[-1].public_key()))))


def document(by: Authority, *keys: Ed25519PrivateKey, number: int = 1, until: datetime | None = None) -> bytes:
    return signed.encode(sign_command_keys(command_keys(*keys, number=number, until=until), by.key))


@dataclass
class Api:
    """What the server is and what it was asked. `change` makes an answer wrong; `reply` replaces all of it."""

    authority: Authority
    url: str = ""
    agent: str = "box"
    area: str = AREA
    broker: str = "mqtts://127.0.0.1:1"
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    change: Callable[[Credentials], Credentials] = lambda credentials: credentials
    reply: dict[str, Reply] = field(default_factory=dict)
    #: Answers that are lost on the way.
    lose: int = 0
    number: int = 1
    enrolments: list[EnrolmentRequest] = field(default_factory=list)
    renewals: list[RenewalRequest] = field(default_factory=list)

    @property
    def token(self) -> EnrolmentToken:
        return EnrolmentToken(SECRET, self.authority.fingerprint)

    def answer(self, path: str, body: bytes) -> Reply | None:
        if path in self.reply:
            return self.reply[path]
        if path == "/api/v1/authority":
            return 200, {"Content-Type": "application/x-pem-file"}, self.authority.certificate_pem.encode()
        if path == "/api/v1/enrolments":
            wish = read_enrolment(EnrolmentRequest, body)
            self.enrolments.append(wish)
            return self._issue(wish.request)
        if path == "/api/v1/renewals":
            renewal = read_enrolment(RenewalRequest, body)
            self.renewals.append(renewal)
            return self._issue(renewal.request)
        return 404, {}, b"{}"

    def _issue(self, request: str) -> Reply | None:
        if self.lose:
            self.lose -= 1
            return None
        issued = self.authority.issue_agent(request, self.agent, self.now())
        keys = sign_command_keys(command_keys(COMMAND_KEY, number=self.number), self.authority.key)
        credentials = Credentials(
            agent=self.agent,
            area=self.area,
            certificate=issued.pem,
            authority=self.authority.certificate_pem,
            broker=self.broker,
            api=self.url,
            command_keys=keys,
        )
        return 201, {}, self.change(credentials).model_dump_json().encode()


@contextmanager
def api(folder: Path, *names: str, secure: bool = True, issued: datetime | None = None) -> Iterator[Api]:
    """A running server whose certificate is for `names`, issued at a time."""
    signer = authority(folder / "authority")
    made = Api(signer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = made.answer(self.path, body)
            self.close_connection = True
            if reply is None:
                return
            status, headers, content = reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            # Whoever refuses our certificate breaks the connection off.
            pass

    server = Server(("127.0.0.1", 0), Handler)
    port = server.server_address[1]
    if secure:
        certificate = signer.issue_server(list(names) or ["127.0.0.1"], issued or datetime.now(UTC))
        pem, key = folder / "server.pem", folder / "server.key"
        pem.write_text(certificate.pem)
        key.write_text(certificate.key_pem or "")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.url = f"http{'s' if secure else ''}://127.0.0.1:{port}"
    thread = threading.Thread(target=server.serve_forever, name="api", args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


LONG_AGO = timedelta(days=3 * 365)

"""The certificate that the API shows: of the collector's own authority and renewed by itself, or one that was given.

Every change makes a new TLS context, which counts for connections that come from then on; nothing is restarted.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem
from village_collector.own_certificate import (
    Pair,
    Shown,
    find_own,
    no_passphrase,
    plain_name,
    read_certificate,
    shown,
    write_own,
)
from village_collector.sections import ApiSection
from village_collector.trust.authority import Authority
from village_wire.secret_files import others_may_open
from village_wire.settings import InvalidSettings, Problem

_log = logging.getLogger(__name__)

CERTIFICATE_FILE, KEY_FILE = "api.pem", "api.key"
#: certbot and people replace files; a new certificate counts after so long.
LOOK_SECONDS = 30.0
#: A given certificate is told to end soon from here on: certbot renews 30 days before.
WARN = timedelta(days=14)
#: Forward secrecy and authenticated encryption only; what TLS 1.3 has needs no list.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class ApiCertificate:
    """Gives the TLS context of the API, and a new one whenever the certificate changes."""

    def __init__(
        self, settings: Settings, authority: Authority, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._api = settings.api
        self._folder = settings.collector.data_dir
        self._authority = authority
        self._now = now
        self._seen: tuple[object, ...] = ()
        self._problem = ""

    def load(self) -> ssl.SSLContext:
        """Return a context with the certificate that counts now; an own one is issued if there is none that will do. Blocks.

        Raises:
            InvalidSettings: the given certificate or key can't be used.
            DataDirProblem: the own one can't be written.
        """
        self._seen = _stamp(self._files)
        if self._api.certificate_file is not None and self._api.key_file is not None:
            check_given(self._api.certificate_file, self._api.key_file, self._now())
        elif not self._own_will_do():
            self._issue()
            self._seen = _stamp(self._files)
        return _context(*self._files)

    async def keep(self, use: Callable[[ssl.SSLContext], None], look_seconds: float = LOOK_SECONDS) -> None:
        """Give `use` a new context whenever the certificate was renewed or its files changed, until cancelled."""
        while True:
            await asyncio.sleep(look_seconds)
            try:
                context = await asyncio.to_thread(self._renewed)
            except (InvalidSettings, DataDirProblem) as error:
                if str(error) != self._problem:
                    _log.warning("the API goes on with its present certificate: %s", error)
                self._problem = str(error)
                continue
            if context is not None:
                self._problem = ""
                use(context)
                _log.info("the API shows a new certificate")

    def _renewed(self) -> ssl.SSLContext | None:
        given = self._api.certificate_file is not None
        if _stamp(self._files) == self._seen and (given or self._own_will_do()):
            return None
        return self.load()

    @property
    def _files(self) -> Pair:
        api = self._api
        return Pair(
            api.certificate_file or self._folder / CERTIFICATE_FILE,
            api.key_file or self._folder / KEY_FILE,
        )

    def _own_will_do(self) -> bool:
        found = find_own(self._files, self._authority)
        return found is not None and found.counts(self._now()) and set(found.names) == set(api_names(self._api))

    def _issue(self) -> None:
        try:
            issued = self._authority.issue_server(api_names(self._api), self._now())
        except ValueError as error:
            raise DataDirProblem(f"the API's certificate can't be issued: {error}") from None
        write_own(self._files, issued)


def api_names(api: ApiSection, hostname: str = "") -> tuple[str, ...]:
    """Return the names and addresses under which people and agents reach the API, lower case."""
    public = urlsplit(api.public_url).hostname or ""
    address = "" if ipaddress.ip_address(api.host).is_unspecified else api.host
    own = hostname or socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", address, *api.names, public]
    # A name that no certificate may hold is nobody's way to the API.
    if all(part and part.replace("-", "a").isalnum() and part.isascii() for part in own.split(".")):
        names.append(own)
    return tuple(dict.fromkeys(plain_name(name) for name in names if name))


def public_name(api: ApiSection) -> str:
    """Return the name for agents where no `public_url` is given: "" is the address that the API listens on."""
    if api.names:
        return api.names[0]
    return socket.gethostname() if ipaddress.ip_address(api.host).is_unspecified else ""


def check_given(certificate_file: Path, key_file: Path, now: datetime) -> Shown:
    """Return what a given certificate says.

    Raises:
        InvalidSettings: a file can't be read or is none, they don't belong together, others may read the key, or the time is over.
    """
    try:
        certificate = read_certificate(certificate_file)
    except OSError as error:
        _refuse(certificate_file, "certificate_file", error.strerror or str(error))
    except ValueError:
        _refuse(certificate_file, "certificate_file", "not a certificate in PEM")
    try:
        if others_may_open(key_file):
            _refuse(key_file, "key_file", "others may open it and pass for this collector: chmod o= it")
        _context(certificate_file, key_file)
    except ssl.SSLError:
        _refuse(key_file, "key_file", f"not the private key of {certificate_file} in PEM")
    except OSError as error:
        _refuse(key_file, "key_file", error.strerror or str(error))
    except ValueError as error:
        _refuse(key_file, "key_file", str(error))
    found = shown(certificate)
    if not found.not_before <= now:
        _refuse(certificate_file, "certificate_file", f"valid from {found.not_before:%Y-%m-%d %H:%M} UTC on only")
    if now >= found.not_after:
        _refuse(certificate_file, "certificate_file", f"it ended on {found.not_after:%Y-%m-%d}; renew it")
    return found


def _refuse(path: Path, key: str, reason: str) -> NoReturn:
    raise InvalidSettings(path, [Problem(0, f"api.{key}", reason)]) from None


def _context(certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate_file, key_file, no_passphrase)
    return context


def _stamp(files: tuple[Path, Path]) -> tuple[object, ...]:
    # Followed through links: certbot changes where they point.
    found: list[object] = []
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            found.append(error.errno)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode))
    return tuple(found)

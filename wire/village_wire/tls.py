"""TLS towards a broker: whom to trust, and what it says when it does not trust this program."""

from __future__ import annotations

import re
import ssl

from village_wire.address import BrokerAddress, SessionError, SessionSettings
from village_wire.secret_files import others_may_open

#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the `ssl` module has no name for: chain and name of a certificate count, its period doesn't.
NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
#: What a server says of a client's certificate, in OpenSSL's words (RFC 8446, 6.2).
_REFUSED = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA"
    r"|ACCESS_DENIED|CERTIFICATE_REQUIRED)\b"
)


def tls_context(address: BrokerAddress, *, check_time: bool = True) -> ssl.SSLContext:
    """Read an address's certificate files; raises `SessionError`.

    Without `check_time` the period of the broker's certificate is left aside, never its chain and name.
    """
    if address.key_file is not None and others_may_open(address.key_file):
        raise SessionError(f"others may open {address.key_file} and pass for this machine: chmod o= it")
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if not check_time:
            context.verify_flags |= NO_CHECK_TIME
        if address.certificate_file is not None:
            context.load_cert_chain(address.certificate_file, address.key_file)
    except (OSError, ssl.SSLError) as error:
        raise SessionError(f"certificate files of {address.url}: {error}") from None
    return context


def refused_certificate(problem: str) -> str:
    """Return what a TLS error tells of a refused client certificate, as `certificate revoked`; empty for any other error."""
    match = _REFUSED.search(problem)
    return match[1].lower().replace("_", " ") if match else ""


def connection_context(settings: SessionSettings) -> ssl.SSLContext:
    """Read the certificate files for one connection; raises `SessionError`. Asks `check_time`, which may block."""
    context = tls_context(settings.address, check_time=settings.check_time())
    context.sslsocket_class = _Handshaking
    return context


class _Handshaking(ssl.SSLSocket):
    """Is closed when its handshake fails; paho would leave that to the collector of garbage."""

    def do_handshake(self, block: bool = False) -> None:
        """See `ssl.SSLSocket`."""
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise

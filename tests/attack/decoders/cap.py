"""Alerts of the Common Alerting Protocol, as anybody may send them: read, planned, and their signatures judged."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from tests.attack.decoders.kit import Decoder
from tests.collector.cap.kit import EXAMPLES, NOW, Sender, example, rainstorm
from village_collector.cap.document import InvalidAlert
from village_collector.cap.mapping import plan
from village_collector.cap.reading import alert_of, read_alert
from village_collector.cap.signature import verify

#: The same at every start: what is kept must go on meaning what it did.
_SENDER = Sender(key=ec.derive_private_key(20261124, ec.SECP256R1()))


def _alert(data: bytes) -> object:
    alert = read_alert(data)
    return alert, plan(alert, NOW)


def _signature(data: bytes) -> object:
    alert = alert_of(verify(data, [_SENDER.signer], NOW).root)
    # Whatever was changed, what is read is what was signed.
    assert alert in _SIGNED, alert
    return alert


_SIGNED = [rainstorm(), rainstorm(status="System", infos=())]

DECODERS = (
    Decoder("cap_alert", _alert, (InvalidAlert,), tuple(example(name) for name in EXAMPLES), "text"),
    Decoder(
        "cap_signature",
        _signature,
        (InvalidAlert,),
        tuple(_SENDER.sign(alert) for alert in _SIGNED),
        "text",
        seconds=5.0,
        memory=32 << 20,
        slow=True,
    ),
)

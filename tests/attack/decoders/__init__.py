"""Every reader of network, serial and file bytes, under its name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.attack.decoders import agent, cap, cli, collector, drivers, live, loudspeakers, wire
from tests.attack.decoders.kit import Decoder

DECODERS: Mapping[str, Decoder] = {
    decoder.name: decoder
    for module in (wire, drivers, loudspeakers, agent, collector, cap, live, cli)
    for decoder in module.DECODERS
}

"""Readers of agent."""

from __future__ import annotations

from tests.attack.decoders.kit import Decoder

DECODERS: tuple[Decoder, ...] = ()

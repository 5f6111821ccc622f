"""Runs a decoder on one input and notices what it may not do: raise something undocumented, hang, or eat memory."""

from __future__ import annotations

import os
import resource
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from tests.attack.decoders.kit import Decoder

#: What the address space of the process may grow by: stops a decoder that eats memory before the machine swaps.
_HARD_BYTES = 1024 * 1024 * 1024

Kind = Literal["undocumented", "hang", "memory", "changed"]


class Weakness(AssertionError):
    """A decoder did on this input what it may not."""

    def __init__(self, decoder: Decoder, kind: Kind, detail: str, data: bytes) -> None:
        super().__init__(f"{decoder.name}: {kind}: {detail}; input of {len(data)} bytes: {data[:200]!r}")
        self.kind = kind
        self.data = data


class _Hang(BaseException):
    """Raised by the timer inside the decoder. No `except Exception` swallows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input: the text form of what was decoded, or the name of the documented refusal."""

    accepted: bool
    text: str


def run(decoder: Decoder, data: bytes) -> Outcome:
    """Decode one input; raises `Weakness`. Seconds are those of the processor, so that a busy machine harms nobody."""
    try:
        with _timer(decoder.seconds), _address_space(), _peak() as peak:
            try:
                outcome = Outcome(True, repr(decoder.decode(data)))
            except decoder.refusals as error:
                outcome = Outcome(False, type(error).__name__)
    except _Hang:
        raise Weakness(decoder, "hang", f"over {decoder.seconds:g} s of the processor", data) from None
    except MemoryError:
        raise Weakness(decoder, "memory", f"over {_HARD_BYTES} bytes", data) from None
    except Exception as error:
        raise Weakness(decoder, "undocumented", f"{type(error).__name__}: {error}"[:300], data) from error
    if peak.bytes > decoder.memory:
        raise Weakness(decoder, "memory", f"{peak.bytes} bytes are over {decoder.memory}", data)
    return outcome


@dataclass(slots=True)
class _Peak:
    bytes: int = 0


@contextmanager
def _peak() -> Iterator[_Peak]:
    found = _Peak()
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start(1)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield found
    finally:
        found.bytes = tracemalloc.get_traced_memory()[1] - before
        if started:
            tracemalloc.stop()


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    # Not the timer of pytest-timeout, which counts time on the wall.
    def hang(_number: int, _frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGPROF, hang)
    # Raised inside a callback of C code the first one may be lost.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _address_space() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_bytes() + _HARD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (min(limit, before[1]) if before[1] > 0 else limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_bytes() -> int:
    with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - once for each of millions of inputs
        return int(file.read(100).split()[0]) * os.sysconf("SC_PAGE_SIZE")

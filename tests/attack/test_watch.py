"""The harness itself: it notices a decoder that raises something undocumented, hangs, or eats memory."""

from __future__ import annotations

import re
import resource
import signal
import tracemalloc
from random import Random

import pytest

from tests.attack import corpus, fuzz
from tests.attack.decoders.kit import Decoder
from tests.attack.watch import Weakness, run


def _undocumented(data: bytes) -> object:
    return {b"good": 1}[data[:4]]


def _hangs(data: bytes) -> object:
    while data.startswith(b"good!"):
        try:
            re.sub("a", "b", "aaa")
        except Exception:  # noqa: BLE001, S112 - as hostile as can be: it swallows what it can
            continue
    return 1


def _backtracks(data: bytes) -> object:
    return re.fullmatch(rb"(g|go|o|d)+(go|od|o|g)+!", b"god" * 40 if data != b"good" else b"god!")


def _eats(data: bytes) -> object:
    return len(data * 1_000_000)


def _devours(data: bytes) -> object:
    kept = []
    while data != b"good":
        kept.append(bytes(64 << 20))
    return len(kept)


@pytest.mark.parametrize(
    ("decode", "data", "kind"),
    [
        (_undocumented, b"evil", "undocumented"),
        (_hangs, b"good!", "hang"),
        (_backtracks, b"evil", "hang"),
        (_eats, b"evil" * 20, "memory"),
        (_devours, b"evil", "memory"),
    ],
)
def test_each_sort_of_weakness_is_noticed(decode: object, data: bytes, kind: str) -> None:
    decoder = Decoder("flawed", decode, (ValueError,), (b"good",), seconds=0.3)  # type: ignore[arg-type]
    assert run(decoder, b"good").accepted
    with pytest.raises(Weakness) as caught:
        run(decoder, data)
    assert caught.value.kind == kind
    # Nothing of the watch is left behind.
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.getrlimit(resource.RLIMIT_AS)[1]
    assert not tracemalloc.is_tracing()


def test_a_documented_refusal_is_none() -> None:
    assert not run(Decoder("int", int, (ValueError,), (b"1",)), b"x").accepted


def test_the_search_finds_what_hides_behind_several_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    monkeypatch.setattr(fuzz, "_OURS", ("test_watch",))

    def decode(data: bytes) -> object:
        if data[:1] == b"{":
            if data[1:2] == b"\x1b":
                if data[2:3] == b"[":
                    raise KeyError("three steps in")
                return 2
            return 1
        return 0

    tried, _, weakness = fuzz.search(Decoder("steps", decode, (), (b"x" * 8,)), 20.0, Random(4))
    assert weakness is not None
    assert weakness.kind == "undocumented"
    assert tried > 0

"""Searches for inputs that break a decoder, led by which lines of ours each input reaches. `deploy/fuzz --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random, SystemRandom
from types import FrameType
from typing import Any

from tests.attack import corpus
from tests.attack.decoders import DECODERS
from tests.attack.decoders.kit import Decoder
from tests.attack.mutation import mutate
from tests.attack.watch import Weakness, run

#: Only our own code leads the search; libraries' lines would drown it.
_OURS = ("/village_wire/", "/village_drivers/", "/village_agent/", "/village_collector/", "/village_cli/")
#: Kept for one decoder by one search; the rest of what it found is forgotten.
_MOST_KEPT = 40
_MOST_IN_POOL = 500

Arc = tuple[Any, int, int]


class Coverage:
    """Which steps from line to line of our own code were taken, and how often in powers of two."""

    def __init__(self) -> None:
        self._known: set[Arc] = set()
        self._known_counts: set[tuple[Arc, int]] = set()
        self._counts: dict[Arc, int] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Follow what the block executes."""
        self._counts = {}
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def news(self) -> tuple[bool, bool]:
        """Tell whether the last block took a step that none took before, and whether it took one more often than any."""
        counts = {(arc, count.bit_length()) for arc, count in self._counts.items()}
        new, more = not self._known.issuperset(self._counts), not self._known_counts.issuperset(counts)
        self._known.update(self._counts)
        self._known_counts |= counts
        return new, more

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in _OURS):
            return None
        counts, code = self._counts, frame.f_code
        last = frame.f_lineno

        def step(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            if event == "line":
                arc = (code, last, frame.f_lineno)
                counts[arc] = counts.get(arc, 0) + 1
                last = frame.f_lineno
            return step

        return step


def search(decoder: Decoder, seconds: float, random: Random) -> tuple[int, int, Weakness | None]:
    """Search for so long; return how many inputs were tried, how many were kept, and the first weakness."""
    coverage = Coverage()
    pool: list[bytes] = []
    for data in (*decoder.seeds, *corpus.load(decoder)):
        try:
            with coverage.watch():
                run(decoder, data)
        except Weakness as weakness:
            return len(pool), 0, weakness
        coverage.news()
        pool.append(data)
    tried = kept = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        data = mutate(random, pool, decoder.form, decoder.max_bytes)
        tried += 1
        try:
            with coverage.watch():
                run(decoder, data)
        except Weakness as weakness:
            corpus.add(decoder, data, "broke-")
            return tried, kept, weakness
        new, more = coverage.news()
        if more and len(pool) < _MOST_IN_POOL:
            pool.append(data)
        if new and kept < _MOST_KEPT and corpus.size() + len(data) < corpus.MAX_BYTES:
            corpus.add(decoder, data)
            kept += 1
    return tried, kept, None


def main() -> int:
    """Return 0 when nothing broke, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="deploy/fuzz",
        description="Search for inputs that make a decoder raise, hang or eat memory; what is new goes to tests/attack/corpus.",
        epilog="Examples: deploy/fuzz --seconds 600    deploy/fuzz events mqtt_site    deploy/fuzz --list",
    )
    parser.add_argument(
        "decoder", nargs="*", choices=[*DECODERS, []], metavar="DECODER", help="which ones; all by default"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each decoder")
    parser.add_argument("--seed", type=int, default=None, help="repeat a search")
    parser.add_argument("--list", action="store_true", help="name the decoders")
    options = parser.parse_args()
    if options.list:
        print("\n".join(DECODERS))
        return 0
    seed = options.seed if options.seed is not None else SystemRandom().randrange(2**32)
    broken = 0
    for name in options.decoder or DECODERS:
        tried, kept, weakness = search(DECODERS[name], options.seconds, Random(f"{seed} {name}"))
        print(f"{name:24} {tried:8} inputs, {kept:3} kept  {weakness or 'ok'}", flush=True)
        broken += weakness is not None
    print(f"seed {seed}; corpus {corpus.size()} bytes of {corpus.MAX_BYTES}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

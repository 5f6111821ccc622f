"""How long to wait before the next try, as a pure function."""

from __future__ import annotations


def full_jitter(attempt: int, random: float, *, base: float = 0.5, cap: float = 60.0, at_cap: bool = False) -> float:
    """Return the seconds to wait before try number `attempt` + 1: between 0 and a bound that doubles up to `cap`.

    `random` is in [0, 1). After a power cut all boxes of a county come back at once; the whole range, not its upper end,
    keeps them from knocking together. `at_cap` is for failures that only a person can mend.
    """
    bound = cap if at_cap else min(cap, base * 2.0 ** min(attempt, 30))
    return max(0.05, bound * random)

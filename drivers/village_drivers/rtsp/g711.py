"""From mu-law to A-law (ITU-T G.711), for cameras that take only that."""

from __future__ import annotations

_BIAS = 0x84
_A_MASK = 0x55


def _linear(code: int) -> int:
    """Return the 16 bit value of a mu-law code."""
    bits = ~code & 0xFF
    value = (((bits & 0x0F) << 3) + _BIAS << (bits >> 4 & 7)) - _BIAS
    return -value if bits & 0x80 else value


def _a_law(value: int) -> int:
    """Return the A-law code of a 16 bit value."""
    sign = 0x80 if value >= 0 else 0
    magnitude = min((value if value >= 0 else ~value) >> 3, 0xFFF)
    segment = max(magnitude.bit_length() - 5, 0)
    return (segment << 4 | magnitude >> max(segment, 1) & 0x0F | sign) ^ _A_MASK


#: For `bytes.translate`.
MU_TO_A = bytes(_a_law(_linear(code)) for code in range(256))

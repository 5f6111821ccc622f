"""Text from devices may hold control sequences that would rule the terminal; here they become visible and harmless."""

from __future__ import annotations

import re
import unicodedata

#: Control, format (bidirectional overrides, zero width), surrogate, line and paragraph separator.
_DANGEROUS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: What JSON lets stand unescaped although a terminal may act on it; outside of strings none of these is valid JSON.
_RAW_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def safe(text: str) -> str:
    """Return the text with every control, format and separator character as a visible escape; the rest is unchanged."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(sign) if unicodedata.category(sign) in _DANGEROUS else sign for sign in text)


def escape_json(text: str) -> str:
    """Return a JSON text of the same meaning in which no character can act on a terminal."""
    return _RAW_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(sign: str) -> str:
    if sign == "\n":
        return "\\n"
    if sign == "\t":
        return " "
    number = ord(sign)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"

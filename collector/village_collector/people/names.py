"""Names of people, as they log in and as the audit log tells them. Pure."""

from __future__ import annotations

import re
import unicodedata

#: Fits a column of a table, and `Command.issuer`.
MAX_NAME = 40
_FORM = re.compile(rf"[^\W_][\w.@-]{{0,{MAX_NAME - 1}}}")


class InvalidName(ValueError):
    """The text is no name of a person."""


def normal_name(text: str) -> str:
    """Return the one form of a name in which it is stored: composed, lower case. Letters of any script; raises `InvalidName`."""
    name = unicodedata.normalize("NFKC", text[: 4 * MAX_NAME].strip()).lower()
    # Lower case may take a form apart again.
    name = unicodedata.normalize("NFKC", name)
    if _FORM.fullmatch(name) is None:
        raise InvalidName(
            f"a name has at most {MAX_NAME} letters, digits and . _ - @, and begins with a letter or a digit"
        )
    return name

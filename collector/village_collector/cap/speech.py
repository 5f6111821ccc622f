"""The text that a loudspeaker says of an info block. Pure."""

from __future__ import annotations

import re

from village_collector.cap.alert import Info
from village_wire.commands import MAX_SPOKEN

_ENDS = "。！？!?.；;"
_SENTENCE_END = re.compile(r"[。！？；]|[!?.;](?=\s)")
_SPACE = re.compile(r"\s+")
#: Between two Chinese characters a line break is no pause.
_BETWEEN_CHINESE = re.compile(r"(?<=[⺀-鿿，。！？；：、]) (?=[⺀-鿿，。！？；：、])")


def spoken(info: Info, longest: int = MAX_SPOKEN) -> tuple[str, bool]:
    """Return headline, description and instruction as sentences, at most `longest` characters, and whether something was left out.

    What to do is never left out for the sake of what happens: of a long text the description is shortened first.
    """
    headline, description, instruction = (_plain(text) for text in (info.headline, info.description, info.instruction))
    if headline and description.startswith(headline.rstrip(f"{_ENDS} ")):
        headline = ""
    instruction, cut = _shortened(instruction, longest)
    room = longest - len(instruction)
    headline, cut_headline = _shortened(headline, room)
    room -= len(headline)
    description, cut_description = _shortened(description, room)
    text = "".join(part for part in (headline, description, instruction) if part).strip()
    return text, cut or cut_headline or cut_description


def _plain(text: str) -> str:
    """One line, without characters that nobody can say, closed like a sentence."""
    text = "".join(character if character.isprintable() else " " for character in text)
    text = _BETWEEN_CHINESE.sub("", _SPACE.sub(" ", text)).strip()
    if text and text[-1] not in _ENDS:
        text += "。" if any("⺀" <= character <= "鿿" for character in text) else "."
    # English sentences need the space that Chinese ones don't.
    return f"{text} " if text and text[-1] in ".!?;" else text


def _shortened(text: str, longest: int) -> tuple[str, bool]:
    """Return as many whole sentences as there is room for."""
    if len(text) <= longest:
        return text, False
    part = text[: max(0, longest)]
    ends = [match.end() for match in _SENTENCE_END.finditer(part)]
    # Half a sentence may say the opposite of the whole; only a text without any end is cut anywhere.
    return (part[: ends[-1]] if ends else part), True

"""Whoever adds a reason in English adds its translation, or is told so here with file and line."""

from __future__ import annotations

import ast
import re

import pytest

from tests.wire.reasons.messages import Message, messages, messages_of
from village_wire.reasons import told
from village_wire.states import ADVICE

#: What is written the same in Chinese: settings, paths, commands to type, names of standards, and the sample.
_SAME = re.compile(
    r"`[^`]*`|\[+[a-z.]+\]+|\S*[_/\\<>=@]\S*|\b[A-Z][A-Za-z]*[A-Z0-9][A-Za-z0-9-]*\b|\b[a-z]+[A-Z]\w*\b|\bx7\b"
    r"|-[a-z]+ |\b(?:village|apt-get install|chmod)\S* ?\S*|\b\w+\.\w+\b",
    re.ASCII,
)
#: Names of programs, libraries, fields, elements and fixed values that the pattern does not tell from English.
_NAMES = frozenset(
    [
        "Actual",
        "Cancel",
        "Content",
        "Host",
        "Modbus",
        "Ogg",
        "Opus",
        "Reference",
        "Snapcast",
        "Type",
        "alert",
        "alsa",
        "another",
        "api",
        "availability",
        "base",
        "digest",
        "effective",
        "end",
        "enveloped",
        "espeak",
        "expires",
        "ffmpeg",
        "http",
        "https",
        "identifier",
        "info",
        "kind",
        "libopus",
        "loudnorm",
        "mosquitto",
        "mp",
        "ng",
        "notify",
        "ogg",
        "one",
        "password",
        "port",
        "prlimit",
        "psycopg",
        "pulse",
        "scope",
        "sender",
        "sent",
        "util",
        "ve",
        "FR",
    ]
)
#: What has no word to translate.
_WORDLESS = frozenset(
    {
        *("7 UTC", "(NAK x7)", "PulseAudio: x7", "espeak-ng: x7", "opus_decoder_create: x7", "opus_decode: x7"),
        *("`disk`: x7", "`password_file` x7: x7", "`voice` x7: x7", "url x7", "file 'x7'", "info x7, x7: x7"),
        *("qop=auth, nc=x7", "x7 x7 RTSP/1.0", "CSeq: x7", "x7,agent=x7,device=x7 x7 x7", "text/plain; charset=utf-8"),
        *(
            "REPEATABLE READ",
            "-c lock_timeout=x7 -c idle_in_transaction_session_timeout=x7",
            "-//village-edge//schedule 1//EN",
        ),
        *(f"apt-get install {name}" for name in ("ffmpeg", "espeak-ng", "alsa-utils", "pulseaudio-utils")),
    }
)
_WORD = re.compile("[A-Za-z]{2,}")
_CHINESE = re.compile("[\u4e00-\u9fff]")


def _is_translated(text: str) -> bool:
    shown = told(text, "zh")
    if not _CHINESE.search(shown):
        return text in _WORDLESS
    return set(_WORD.findall(_SAME.sub(" ", shown))) <= _NAMES


def _lacking(found: list[Message]) -> list[str]:
    return [f"{place}: {text!r}" for place, text in found if not _is_translated(text.strip(" ,;:."))]


def test_every_sentence_of_the_sources_has_a_translation() -> None:
    found = list(messages())
    assert len(found) > 700
    lacking = _lacking(found)
    assert not lacking, "\n".join(["add these to village_wire/reasons:", *lacking])


@pytest.mark.parametrize(
    "source",
    [
        'raise NotConnected("no_answer", f"{self._port}: the frobnicator sleeps")',
        'progress.end(item, "skipped", "nobody frobnicates on Sundays")',
        'return "down", "no_answer", f"frobnicator {name} is away"',
        'Outcome(False, "not frobnicated" if late else "it is not here")',
    ],
)
def test_a_sentence_without_translation_is_found_with_its_line(source: str) -> None:
    [lacking] = _lacking(list(messages_of("drivers/new.py", ast.parse(f"\n{source}\n"))))
    assert lacking.startswith("drivers/new.py:2: ")
    assert "frobnicat" in lacking


def test_every_code_of_a_state_has_a_name() -> None:
    assert [code for code in ADVICE if told(code, "zh") == code] == []

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_drivers.mqtt.payloads import (
    InvalidPayload,
    clean,
    parse_command_template,
    parse_payload,
    parse_place,
)

HOSTILE = 'say "hi"; {text} {volume} {{ value }} \\ {"a": 1}\nnext\r\n\x00\t</say>&'


def test_json_escapes_whatever_the_text_holds() -> None:
    payload = parse_payload(
        '{"cmd": "tts", "content": "{text}", "vol": {volume}, "id": "{id}", "n": [1, null, "x{text}"]}'
    )
    assert json.loads(payload.fill(HOSTILE, 30, "ab")) == {
        "cmd": "tts",
        "content": clean(HOSTILE),
        "vol": 30,
        "id": "ab",
        "n": [1, None, f"x{clean(HOSTILE)}"],
    }


@given(st.text(), st.integers(0, 65535))
def test_json_stays_json(text: str, volume: int) -> None:
    filled = json.loads(parse_payload('{"t": "{text}", "v": {volume}, "s": "stop"}').fill(text, volume))
    assert filled == {"t": clean(text), "v": volume, "s": "stop"}


@given(st.text())
def test_words_stay_one_line(text: str) -> None:
    filled = parse_payload("say {text}").fill(text).decode()
    assert filled.startswith("say ")
    assert not {"\n", "\r", "\0"} & set(filled)


@given(st.text())
def test_markup_has_no_other_elements(text: str) -> None:
    filled = parse_payload("<say volume='{volume}'>{text}</say>").fill(text, 7).decode()
    assert filled.count("<") == 2
    assert filled.startswith("<say volume='7'>")


def test_plain_text_is_the_text() -> None:
    assert parse_payload("{text}").fill("请注意，水位上涨").decode() == "请注意，水位上涨"
    assert parse_payload("{volume}").fill(volume=0) == b"0"


@pytest.mark.parametrize("source", ['{"t": "{text}"', "[{text}]", '{"t": {text}}', "x" * 1001, "\ufdd0"])
def test_what_would_be_no_json_is_refused(source: str) -> None:
    with pytest.raises(InvalidPayload):
        parse_payload(source)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ value }}", 'a "b"'),
        ('{"m": "{{ value }}"}', '{"m": "a \\"b\\""}'),
        ('{"m": {{ value | tojson }}}', '{"m": "a \\"b\\""}'),
        ('{"m": {{ value|to_json }}, "{text}": "{volume}"}', '{"m": "a \\"b\\"", "{text}": "{volume}"}'),
    ],
)
def test_command_templates(template: str, expected: str) -> None:
    assert parse_command_template(template).fill('a "b"').decode() == expected


@pytest.mark.parametrize("template", ["{{ value[0] }}", "{% if value %}x{% endif %}", "hello", "{{ states('x') }}"])
def test_other_command_templates_are_refused(template: str) -> None:
    with pytest.raises(InvalidPayload):
        parse_command_template(template)


@pytest.mark.parametrize(
    ("path", "payload", "found"),
    [
        ("", b" playing\n", "playing"),
        ("audio.state", b'{"audio": {"state": "idle"}}', "idle"),
        ("outputs.1.on", b'{"outputs": [{}, {"on": true}]}', "true"),
        ("n", b'{"n": 1}', "1"),
        ("audio.state", b'{"audio": ["state"]}', None),
        ("a", b"playing", None),
        ("outputs.7", b'{"outputs": []}', None),
        ("n", b'{"n": 1' + b"0" * 5000 + b"}", None),
        ("n", b'{"n": {"x": 1}}', None),
    ],
)
def test_places(path: str, payload: bytes, found: str | None) -> None:
    assert parse_place(path).read(payload) == found


@pytest.mark.parametrize("path", ["a..b", ".", "a.b.c.d.e.f.g.h.i"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidPayload):
        parse_place(path)

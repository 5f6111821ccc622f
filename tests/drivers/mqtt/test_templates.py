from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_drivers.mqtt.templates import (
    MAX_TEMPLATE,
    MISSING,
    UnsupportedTemplate,
    fill_command,
    number,
    parse_template,
    read_payload,
)


@pytest.mark.parametrize(
    ("source", "payload", "text"),
    [
        ("{{ value }}", "ON", "ON"),
        ("{{value|upper}}", "on", "ON"),
        ("{{ value_json.a }}", '{"a": 1.5}', "1.5"),
        ("{{ value_json['a'] }}", '{"a": "x"}', "x"),
        ('{{ value_json["a b"].c }}', '{"a b": {"c": 3}}', "3"),
        ("{{ value_json.list[1] }}", '{"list": [1, 2]}', "2"),
        ("{{ value_json.a }}", '{"a": true}', "True"),
        ("{{ value_json.a }}", '{"a": null}', None),
        ("{{ value_json.a }}", '{"b": 1}', None),
        ("{{ value_json.a.b }}", '{"a": 1}', None),
        ("{{ value_json.a }}", "not json", None),
        ("{{ value_json.a | float }}", '{"a": "2.50"}', "2.5"),
        ("{{ value_json.a | float(0) }}", '{"a": "x"}', "0"),
        ("{{ value_json.a | float }}", '{"a": "x"}', None),
        ("{{ value_json.a | int }}", '{"a": "2.9"}', "2"),
        ("{{ value_json.a | round(1) }}", '{"a": 2.26}', "2.3"),
        ("{{ value_json.a | round }}", '{"a": 2.26}', "2.0"),
        ("{{ value_json.a | round(-308) }}", '{"a": 1.7e308}', None),
        ("{{ value_json.a | default('none yet') }}", "{}", "none yet"),
        ("{{ value_json.a | default(0) | int }}", "{}", "0"),
        ("{{ value_json.a | is_defined }}", "{}", None),
        ("{{ 'ON' if value_json.x == 'y' else 'OFF' }}", '{"x": "y"}', "ON"),
        ("{{ 'ON' if value_json.x == 'y' else 'OFF' }}", "{}", "OFF"),
        ("{{ 'ON' if value_json.x != 1 else 'OFF' }}", '{"x": 1}', "OFF"),
        ("{{ 'hot' if value_json.t > 30 else 'cool' }}", '{"t": 31}', "hot"),
        ("{{ 'hot' if value_json.t > 30 else 'cool' }}", '{"t": "31"}', "cool"),
        ("{{ 'ON' if value_json.x else 'OFF' }}", '{"x": true}', "ON"),
        ("{% if value_json.alarm %}true{% else %}false{% endif %}", '{"alarm": true}', "true"),
        ("{% if value_json.alarm %} true {% else %} false {% endif %}", '{"alarm": false}', "false"),
        ("{%- if value_json.a == 'b' -%}1{%- else -%}0{%- endif -%}", '{"a": "b"}', "1"),
    ],
)
def test_template(source: str, payload: str, text: str | None) -> None:
    assert parse_template(source).render(read_payload(payload.encode())) == text


@pytest.mark.parametrize(
    "source",
    [
        "",
        "plain text",
        "{{ }}",
        "{{ value_json. }}",
        "{{ value_json.a",
        "{{ states('sensor.x') }}",
        "{{ value_json.a.__class__ + 1 }}",
        "{{ value_json.a | map('x') }}",
        "{{ value_json.HSBColor.split(',')[0:2]|join(',') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ value_json.a }} and {{ value_json.b }}",
        "{% set x = 1 %}{{ x }}",
        "{% for i in value_json %}{{ i }}{% endfor %}",
        "{{ 'a' if value_json.x }}",
        "{{ value_json['a\\'b'] }}",
        "{{ value_json.a | round( }}",
        "{{ " + "value_json.a" * MAX_TEMPLATE + " }}",
    ],
)
def test_what_is_not_understood_is_refused(source: str) -> None:
    with pytest.raises(UnsupportedTemplate):
        parse_template(source)


def test_attributes_of_objects_are_out_of_reach() -> None:
    assert parse_template("{{ value.__class__ }}").render(read_payload(b"x")) is None
    assert parse_template("{{ value_json.__class__ }}").render(read_payload(b"{}")) is None


def test_command_template() -> None:
    assert fill_command('{"state": "{{ value }}"}', "ON") == '{"state": "ON"}'
    assert fill_command("{{value}}", "{{ value }}") == "{{ value }}"
    for source in ("{{ value | upper }}", "{% if value %}a{% endif %}", "{{ code }}"):
        with pytest.raises(UnsupportedTemplate):
            fill_command(source, "ON")


def test_deep_json_is_no_document() -> None:
    assert read_payload(b"[" * 60_000).document is MISSING
    assert read_payload(b"9" * 60_000).document is MISSING


def test_numbers_are_finite() -> None:
    assert number("21.5") == 21.5
    assert [number(text) for text in ("nan", "inf", "-inf", "1e999", "", "None", "unavailable")] == [None] * 7


_PARTS = [
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        " ",
        "value",
        "value_json",
        ".a",
        "['b']",
        "[0]",
        "|",
        "float",
        "round",
        "(",
        ")",
        "1",
        "'x'",
    ),
    *("if", "else", "endif", "==", "<", "default", "int", "9" * 30),
]
_templates = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_PARTS), max_size=14).map(" ".join))


@given(source=_templates, payload=st.one_of(st.binary(max_size=80), st.just(b'{"a": [1e400, "x", {"b": null}]}')))
def test_nothing_breaks_a_template(source: str, payload: bytes) -> None:
    try:
        template = parse_template(source)
    except UnsupportedTemplate:
        return
    text = template.render(read_payload(payload))
    assert text is None or isinstance(text, str)


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just(10**400),
    st.lists(st.integers(), max_size=2),
)


@given(
    value=_values,
    source=st.sampled_from([f"{{{{ value_json.a{end} }}}}" for end in ("", "|float", "|int", "|round(2)", "|lower")]),
)
def test_no_value_breaks_a_filter(value: object, source: str) -> None:
    import json

    parse_template(source).render(read_payload(json.dumps({"a": value}).encode()))

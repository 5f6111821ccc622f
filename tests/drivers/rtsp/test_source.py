"""Addresses with passwords: put together, given to ffmpeg, and kept out of every text."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from village_drivers.kit import Misconfigured, NotConnected
from village_drivers.registry import DRIVERS
from village_drivers.rtsp.driver import RtspCamera, RtspConfig
from village_drivers.rtsp.source import StreamSource


def test_credentials_are_encoded_into_the_playlist_and_nowhere_else() -> None:
    source = StreamSource.make("rtsp://10.0.0.9/cam?x=1", "vill age", "p@ss:/'\"%#\\ 密", "tcp")
    script = source.script().decode()
    assert "file 'rtsp://vill%20age:p%40ss%3A%2F%27%22%25%23%5C%20%E5%AF%86@10.0.0.9:554/cam?x=1'" in script
    assert "option rtsp_transport tcp" in script
    assert "p%40ss" not in repr(source) + " ".join(source.arguments())
    assert (source.host, source.port) == ("10.0.0.9", 554)


def test_credentials_in_the_address_work_too() -> None:
    source = StreamSource.make("rtsps://admin:a%40b@[::1]:8322/", "", "", "udp")
    assert "rtsps://admin:a%40b@[::1]:8322/" in source.script().decode()
    assert source.hide("rtsps://admin:a%40b@[::1]:8322/ a@b a%40b") == "rtsps://***@[::1]:8322/ *** ***"


def test_a_quote_in_the_path_does_not_end_the_string() -> None:
    source = StreamSource.make("rtsp://h/a'b", "", "", "tcp")
    assert "file 'rtsp://h:554/a'\\''b'" in source.script().decode()


@given(username=st.text(min_size=1, max_size=20), password=st.text(min_size=4, max_size=30))
def test_no_password_shows_in_what_ffmpeg_says(username: str, password: str) -> None:
    try:
        source = StreamSource.make("rtsp://camera.example/", username, password, "tcp")
    except UnicodeEncodeError:
        return
    url = source.url
    parts = urlsplit(url)
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (username, password)
    assert "\n" not in url
    assert source.hide(f"x {url} y") == "x rtsp://***@camera.example:554/ y"


@pytest.mark.parametrize(
    "url",
    [
        "http://h/cam", "rtsp://", "rtsp:///cam", "/dev/video0", "rtsp://h:99999/", "rtsp://h/\nfile 'x'",
        "rtsp://u:sec#ret@h/", "rtsp://u:sec/ret@h/", "rtsp://[u:secret@h/", "",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RtspConfig.model_validate({"id": "cam", "driver": "rtsp", "url": url})
    assert "sec" not in str(caught.value)


def test_one_place_for_the_password() -> None:
    with pytest.raises(ValidationError, match="only once"):
        RtspConfig.model_validate({"id": "cam", "driver": "rtsp", "url": "rtsp://u:secret@h/", "username": "u"})
    with pytest.raises(ValidationError, match="either password or password_file") as caught:
        RtspConfig.model_validate(
            {"id": "cam", "driver": "rtsp", "url": "rtsp://h/", "password": "secret", "password_file": "/x"}
        )
    assert "secret" not in str(caught.value)


def test_the_settings_do_not_show_the_password() -> None:
    config = RtspConfig.model_validate({"id": "cam", "driver": "rtsp", "url": "rtsp://u:secret@h/"})
    assert "secret" not in repr(config) + str(config.model_dump()) + config.model_dump_json()
    assert DRIVERS["rtsp"].load() is RtspCamera


@pytest.mark.parametrize(
    ("complaint", "kind", "code"),
    [
        ("[rtsp @ 0x1] method DESCRIBE failed: 401 Unauthorized", Misconfigured, "unauthorised"),
        ("[rtsp @ 0x1] method DESCRIBE failed: 401 (Unauthorized)", Misconfigured, "unauthorised"),
        ("pipe:0: Server returned 403 Forbidden (access denied)", Misconfigured, "unauthorised"),
        ("method DESCRIBE failed: 404 Not Found", NotConnected, "rejected"),
        ("method SETUP failed: 461 Unsupported Transport", NotConnected, "rejected"),
        ("Stream map '0:v:0' matches no streams.", NotConnected, "program_failed"),
        ("", NotConnected, "no_packets"),
    ],
)
def test_what_ffmpeg_says_becomes_an_error_of_the_right_kind(complaint: str, kind: type[Exception], code: str) -> None:
    error = StreamSource.make("rtsp://h/", "", "", "tcp").failure(complaint)
    assert isinstance(error, kind)
    assert error.code == code

"""What is read and written on the way to a camera's loudspeaker: challenges, descriptions, answers, G.711."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.peers import peer
from village_drivers.rtsp.authorisation import Challenge, Login, choose_challenge
from village_drivers.rtsp.connection import MAX_BODY_BYTES, InvalidAnswer, parse_head
from village_drivers.rtsp.g711 import MU_TO_A
from village_drivers.rtsp.sdp import BackChannel, NoBackChannel, find_back_channel

BASE = "rtsp://cam:554/stream/"
SDP = """v=0
a=control:*
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=control:trackID=0
m=audio 0 RTP/AVP 0
a=control:trackID=1
a=recvonly
m=audio 0 RTP/AVP 97 98 8
a=rtpmap:97 MPEG4-GENERIC/16000
a=rtpmap:98 {codec}
a=control:trackID=2
a=sendonly
"""


def _answer(headers: list[str], login: Login, method: str, uri: str, client_nonce: str) -> str:
    challenge = choose_challenge(headers)
    assert challenge is not None
    return challenge.answer(login, method, uri, client_nonce)


def test_the_example_of_rfc_2617() -> None:
    header = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    answer = _answer([header], Login("Mufasa", "Circle Of Life"), "GET", "/dir/index.html", "0a4f113b")
    assert 'response="6629fae49393a05397450978507c4ef1"' in answer
    assert 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in answer
    assert "qop=auth, nc=00000001" in answer


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    header = (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    answer = _answer([header], Login("Mufasa", "Circle of Life"), "GET", "/dir/index.html", cnonce)
    assert f'response="{response}"' in answer


def test_the_best_challenge_is_answered_and_an_unknown_one_is_none() -> None:
    offers = ['Basic realm="x"', 'Digest realm="x", nonce="1"', 'Digest realm="x", nonce="2", algorithm=SHA-256']
    assert choose_challenge(offers) == Challenge("digest", {"realm": "x", "nonce": "2", "algorithm": "SHA-256"})
    assert _answer(offers[:1], Login("Aladdin", "open sesame"), "PLAY", "/", "") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert choose_challenge(["Negotiate", 'Digest realm="x", algorithm=SHA-512-256']) is None


def test_answers_to_one_nonce_are_numbered() -> None:
    challenge = choose_challenge(['Digest realm="x", nonce="1", qop=auth'])
    assert challenge is not None
    counts = [challenge.answer(Login("a", "b"), "PLAY", "/", "c").split("nc=")[1][:8] for _ in range(3)]
    assert counts == ["00000001", "00000002", "00000003"]


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=20))
@example('Digest realm="\\"', "a", "b")
def test_any_challenge_gets_an_answer_of_one_line_or_none(header: str, username: str, password: str) -> None:
    challenge = choose_challenge([header, f"Digest {header}"])
    if challenge is not None:
        answer = challenge.answer(Login(username, password), "PLAY", "rtsp://h/", "c")
        assert len(answer.splitlines()) == 1
        assert answer.startswith(("Digest username=", "Basic "))


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(Login("u", "secret"))


def test_the_back_channel_is_the_audio_that_the_camera_wants_to_be_sent() -> None:
    found = find_back_channel(SDP.format(codec="PCMU/8000"), BASE)
    assert found == BackChannel(f"{BASE}trackID=2", BASE, "PCMU", 98)
    found = find_back_channel(SDP.format(codec="opus/48000/2").replace("\n", "\r\n"), BASE)
    assert found == BackChannel(f"{BASE}trackID=2", BASE, "PCMA", 8)


@pytest.mark.parametrize(
    ("base", "control", "address"),
    [
        ("rtsp://c/live", "trackID=2", "rtsp://c/live/trackID=2"),
        ("rtsp://c/live/", "trackID=2", "rtsp://c/live/trackID=2"),
        ("rtsp://c/live?x=1", "trackID=2", "rtsp://c/live?x=1/trackID=2"),
        ("rtsp://c/live", "rtsp://c/other", "rtsp://c/other"),
        ("rtsp://c/live", "*", "rtsp://c/live"),
    ],
)
def test_addresses_of_tracks(base: str, control: str, address: str) -> None:
    text = f"m=audio 0 RTP/AVP 0\na=sendonly\na=control:{control}\n"
    assert find_back_channel(text, base).control == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no back channel"),
        (SDP.replace("a=sendonly\n", ""), "no back channel"),
        (SDP.replace(" 8\n", "\n").format(codec="opus/48000/2"), "no G.711"),
        (SDP.replace(" 8\n", "\n").replace(":98", ":999").format(codec="PCMU/8000"), "no G.711"),
    ],
)
def test_no_back_channel(text: str, reason: str) -> None:
    with pytest.raises(NoBackChannel, match=reason):
        find_back_channel(text, BASE)


_LINES = st.sampled_from([*SDP.splitlines(), "a=rtpmap:", "a=control", "m=", "m=audio", "a=rtpmap:² PCMU/8000"])


@given(st.lists(_LINES | st.text(max_size=30), max_size=30), st.text(max_size=30))
def test_any_description_is_read(lines: list[str], base: str) -> None:
    try:
        found = find_back_channel("\n".join(lines), f"rtsp://h/{base}")
    except NoBackChannel:
        return
    assert 0 <= found.payload_type < 128


def test_an_answer_is_parsed() -> None:
    head = b"RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Basic\r\nWWW-authenticate: Digest x\r\n"
    answer, length = parse_head(head + b"Content-Length: 12\r\n\r\n")
    assert (answer.status, answer.reason, length) == (401, "Unauthorized", 12)
    assert answer.headers["www-authenticate"] == ("Basic", "Digest x")


@pytest.mark.parametrize("length", ["-1", "x", str(MAX_BODY_BYTES + 1), "9" * 5000, "²"])
def test_a_body_of_no_sane_length_is_refused(length: str) -> None:
    with pytest.raises(InvalidAnswer):
        parse_head(f"RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: b"RTSP/1.0 200 OK\r\n" + rest))
def test_any_answer_is_parsed_or_invalid(data: bytes) -> None:
    try:
        answer, length = parse_head(data)
    except InvalidAnswer:
        return
    assert 100 <= answer.status <= 999 or answer.status < 100
    assert 0 <= length <= MAX_BODY_BYTES


def test_a_law_as_ffmpeg_makes_it() -> None:
    # Compared as sound: two codes may be equally near to a value.
    def decoded(codec: str, data: bytes) -> list[int]:
        command = [
            str(peer("ffmpeg")),
            "-v",
            "error",
            "-f",
            codec,
            "-ar",
            "8000",
            "-ac",
            "1",
            "-i",
            "-",
            "-f",
            "s16le",
            "-",
        ]
        out = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        return [int.from_bytes(out[n : n + 2], "little", signed=True) for n in range(0, len(out), 2)]

    codes = bytes(range(256))
    for value, made in zip(decoded("mulaw", codes), decoded("alaw", codes.translate(MU_TO_A)), strict=True):
        assert abs(value - made) <= max(16, abs(value) / 32)

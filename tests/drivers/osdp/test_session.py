"""Panel and session against a reader in memory: no line, no time but what the test says."""

from __future__ import annotations

import time

from tests.drivers.osdp.bench import KEY
from village_drivers.osdp import commands, frames
from village_drivers.osdp.frames import Frame, FrameSplitter, build_frame, command_code
from village_drivers.osdp.panel import Outcome, Panel
from village_drivers.osdp.session import Session
from village_emulators.osdp_device import EmulatedReader, Told

_OUTPUT = 0x68


def only(data: bytes) -> Frame:
    (frame,) = FrameSplitter().feed(data)
    return frame


def pause() -> None:
    """libosdp goes by the wall clock and repeats a lost frame after a second."""
    time.sleep(0.06)


def online(panel: Panel, reader: EmulatedReader) -> None:
    for _ in range(6):
        frame = panel.transmit()
        if frame:
            panel.receive(only(reader.hear(frame)))
        else:
            pause()
    assert panel.online
    assert panel.secure


def test_a_lost_command_is_repeated_by_libosdp_and_dropped_by_us() -> None:
    told: list[Told] = []
    reader, panel = EmulatedReader(1, KEY, told.append), Panel(1, KEY)
    online(panel, reader)
    ended: list[Outcome] = []
    assert panel.submit(commands.release(0, 10), ended.append)
    lost = panel.transmit()
    assert command_code(lost) == _OUTPUT
    time.sleep(0.21)
    panel.receive(None)
    time.sleep(0.81)
    # This is the ghost: a second later libosdp would still open the door.
    assert command_code(panel.transmit()) == _OUTPUT
    assert ended == []
    panel.open()
    assert ended == ["dropped"]
    online(panel, reader)
    pause()
    assert command_code(panel.transmit()) == frames.POLL
    assert not [entry for entry in told if entry["event"] == "output"]


def test_commands_that_wait_are_dropped_when_the_session_ends() -> None:
    reader, panel = EmulatedReader(1, KEY, lambda told: None), Panel(1, KEY)
    online(panel, reader)
    ended: list[tuple[str, Outcome]] = []
    # libosdp ends the session at a NAK: this reader has two outputs.
    panel.submit(commands.release(9, 10), lambda outcome: ended.append(("first", outcome)))
    panel.submit(commands.release(0, 10), lambda outcome: ended.append(("second", outcome)))
    panel.receive(only(reader.hear(panel.transmit())))
    assert ended == [("first", "refused"), ("second", "dropped")]
    assert not panel.online
    assert not panel.submit(commands.release(0, 10), lambda outcome: None)
    panel.begin_again()
    online(panel, reader)
    pause()
    assert command_code(panel.transmit()) == frames.POLL


def test_a_closed_panel_releases_what_waits() -> None:
    reader, panel = EmulatedReader(1, KEY, lambda told: None), Panel(1, KEY)
    online(panel, reader)
    ended: list[Outcome] = []
    panel.submit(commands.LOCAL_STATUS, ended.append)
    panel.transmit()
    panel.submit(commands.LOCAL_STATUS, ended.append)
    panel.close()
    panel.close()
    assert ended == ["dropped", "dropped"]


def test_a_reader_without_a_secure_channel_is_named() -> None:
    now = 100.0
    session = Session(1, KEY, now)
    assert command_code(session.transmit(now)) == frames.ID
    session.answered(only(build_frame(1, 0, bytes([frames.IDENTITY]) + bytes(12), reply=True)), now)
    assert command_code(session.transmit(now)) == frames.CAPABILITIES
    session.answered(only(build_frame(1, 1, bytes([0x46, 4, 1, 1]), reply=True)), now)
    assert session.transmit(now) == b""
    assert session.failure is not None
    assert (session.failure.code, session.failure.evidence) == ("rejected", "the reader offers no secure channel")
    # It is asked again later, and never with the default key.
    assert session.due == now + 3
    assert command_code(session.transmit(now + 3)) == frames.ID


def test_a_reader_that_refuses_the_challenge_is_named() -> None:
    now = 100.0
    session = Session(1, KEY, now)
    session.transmit(now)
    session.answered(only(build_frame(1, 0, bytes([frames.IDENTITY]) + bytes(12), reply=True)), now)
    session.transmit(now)
    session.answered(only(build_frame(1, 1, bytes([0x46, 9, 1, 1]), reply=True)), now)
    challenge = session.transmit(now)
    assert command_code(challenge) == frames.CHALLENGE
    assert challenge[8] == 1, "the panel asks for the reader's own key, not for the default key"
    session.answered(only(build_frame(1, 2, bytes([frames.NAK, 5]), reply=True)), now)
    assert session.transmit(now) == b""
    assert session.failure is not None
    assert (session.failure.code, session.failure.evidence) == (
        "rejected",
        "the reader refuses a secure channel (NAK 5)",
    )


def test_a_reader_that_knows_no_status_question_keeps_working() -> None:
    """Plaintext, by hand: libosdp ends the session at the NAK; the next one comes at once."""
    now = 100.0
    session = Session(1, None, now)

    def handshake() -> None:
        session.transmit(now)
        session.answered(only(build_frame(1, 0, bytes([frames.IDENTITY]) + bytes(12), reply=True)), now)
        session.transmit(now)
        session.answered(only(build_frame(1, 1, bytes([0x46, 4, 1, 1]), reply=True)), now)
        pause()
        assert command_code(session.transmit(now)) == frames.POLL
        session.answered(only(build_frame(1, 2, bytes([frames.ACK]), reply=True)), now)
        assert session.established(now)

    handshake()
    ended: list[Outcome] = []
    session.panel.submit(commands.LOCAL_STATUS, ended.append)
    assert command_code(session.transmit(now)) == frames.LOCAL_STATUS
    session.answered(only(build_frame(1, 3, bytes([frames.NAK, 3]), reply=True)), now)
    assert ended == ["refused"]
    assert session.failure is None
    handshake()


def test_a_reader_is_silent_after_three_seconds() -> None:
    session = Session(1, KEY, 100.0)
    assert not session.silent(103.0)
    assert session.silent(103.1)
    assert not session.unsettled(103.0)


def test_a_wall_clock_that_was_set_back_silences_nobody() -> None:
    """For libosdp no time passes here, which is what it sees of a clock set back: it has no poll to send."""
    now = 100.0
    reader, session = EmulatedReader(1, KEY, lambda told: None), Session(1, KEY, now)
    while not session.panel.online:
        session.answered(only(reader.hear(session.transmit(now))), now)
    for seconds in (0.06, 1.6):
        now += seconds
        assert session.transmit(now) == b""
    assert not session.panel.online
    assert command_code(session.transmit(now)) == frames.ID

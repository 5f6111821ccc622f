"""A live voice at one loudspeaker among all other broadcasts, in fake time, with real Opus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.agent.fake_time import in_fake_time
from tests.agent.loudspeaker.bench import Bench
from tests.agent.loudspeaker.kit import CHIME_SECONDS, Player, Span
from tests.agent.loudspeaker.live.kit import KEY, VOICE, packets, tone
from village_agent.loudspeaker.live.voices import FIRST_SECONDS, Voices
from village_agent.loudspeaker.policy import Profile
from village_agent.loudspeaker.scripts import LiveScript
from village_agent.loudspeaker.store import Stored
from village_agent.loudspeaker.surroundings import Prepared
from village_drivers.abilities import LiveSource
from village_drivers.kit import NotConnected
from village_wire.broadcasts import Voice
from village_wire.ids import uuid7
from village_wire.incoming import Received
from village_wire.live import Packet, encode_packet
from village_wire.topics import LiveTopic

SECONDS = 2.0


class Card(Player):
    """A sound card that also plays what is being made."""

    async def play_live(self, source: LiveSource, volume: float | None) -> str:
        assert not self.sounds, "two sounds at once"
        if self.error is not None:
            raise self.error
        now = asyncio.get_running_loop().time
        begun = now()
        self.sounds, self._begin, self._since = True, 0.0, begun
        try:
            while source.read(1.0):
                await asyncio.sleep(0.02)
            return f"played {now() - begun:.2f} s"
        finally:
            self._heard, self._since, self.sounds = now() - begun, None, False
            self.spans.append(Span("live", begun, now(), 0.0, volume))


class Speaker:
    """Somebody far away, and the agent's ear for them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.voices = Voices(lambda: int(bench.now() * 1e9), asyncio.get_running_loop().time)
        self.voice = VOICE
        prepare = bench.contents.prepare

        async def prepared(stored: Stored, *, chime: bool) -> Prepared:
            if stored.broadcast.live is None:
                return await prepare(stored, chime=chime)
            opening = Path("chime") if chime else None
            return Prepared(LiveScript(self.voices.open(stored.broadcast.live), self.voices.clock), opening)

        bench.contents.prepare = prepared  # type: ignore[method-assign]

    def announce(self, **more: object) -> UUID:
        self.voice = Voice(stream=uuid7(int(self._bench.now() * 1000)), key=VOICE.key)
        return self._bench.broadcast(live=self.voice, **more)  # type: ignore[arg-type]

    async def speak(self, *, seconds: float = SECONDS, ends: bool = True) -> None:
        frames = tone(SECONDS) * int(seconds / SECONDS)
        begun = asyncio.get_running_loop().time()
        for packet in packets(frames):
            self._send(packet)
            await asyncio.sleep(max(0.0, begun + packet.number * 0.02 + 0.06 - asyncio.get_running_loop().time()))
        if ends:
            self._send(Packet(len(frames), 0, end=True))

    def _send(self, packet: Packet) -> None:
        stream = self.voice.stream
        sent = int(self._bench.now() * 1000) - (stream.int >> 80)
        payload = encode_packet(Packet(packet.number, sent, packet.frames, packet.end), stream, KEY)
        assert self.voices.on_message(Received(str(LiveTopic("330110101205", stream)), payload, retained=False))


def on_bench(work: Callable[[Bench, Speaker], Awaitable[None]], profile: Profile | None = None) -> None:
    tone(SECONDS)

    async def run() -> None:
        bench = Bench(Card(), profile)
        await work(bench, Speaker(bench))
        await bench.end()

    in_fake_time(run())


def test_a_voice_is_heard_and_told_from_its_first_word() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        identity = speaker.announce(volume=60)
        await asyncio.sleep(3)
        assert bench.stages(identity) == ["queued", "ready"]
        assert (bench.told(identity)[-1].reason, bench.told(identity)[-1].evidence) == ("", "0.0 s after it was told")
        began = bench.now()
        await speaker.speak()
        await asyncio.sleep(1)
        assert bench.stages(identity) == ["queued", "ready", "started", "finished"]
        started = next(event for event in bench.notes.receipts if getattr(event.data, "stage", "") == "started")
        assert 0 < started.time.timestamp() - began < 0.4
        assert bench.told(identity)[-1].evidence.startswith("2.0")
        assert bench.handle.spans[0].volume == 60

    on_bench(work)


def test_it_is_ready_when_amplifier_and_chime_are() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce(chime=True)
        await asyncio.sleep(3 + CHIME_SECONDS - 0.1)
        assert bench.stages(voice) == ["queued"]
        await asyncio.sleep(0.2)
        assert bench.stages(voice) == ["queued", "ready"]
        assert bench.told(voice)[-1].evidence == f"{3 + CHIME_SECONDS:.1f} s after it was told"
        await speaker.speak()
        await asyncio.sleep(1)
        assert bench.stages(voice) == ["queued", "ready", "started", "finished"]

    on_bench(work, Profile(chimes=frozenset({"notice"}), amplifier="relay", lead_in=3))


def test_an_amplifier_that_stays_off_makes_it_doubtful_and_keeps_nobody_waiting() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        bench.relay.error = NotConnected("unreachable", "no relay")
        voice = speaker.announce()
        await asyncio.sleep(1)
        assert bench.stages(voice) == ["queued", "ready"]
        assert bench.told(voice)[-1].reason == "amplifier relay can't be switched on: no relay"

    on_bench(work, Profile(amplifier="relay", lead_in=3))


def test_what_goes_first_takes_the_readiness_away_until_it_is_over() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        await asyncio.sleep(1)
        bench.broadcast("flood 4", rank="emergency")
        await asyncio.sleep(1)
        assert bench.stages(voice) == ["queued", "ready", "queued"]
        assert bench.told(voice)[-1].reason == "emergency goes first"
        await asyncio.sleep(4)
        assert bench.stages(voice) == ["queued", "ready", "queued", "ready"]

    on_bench(work)


def test_a_card_that_is_lost_before_the_first_word_is_not_ready_until_it_is_back() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        assert isinstance(bench.handle, Card)
        bench.handle.error = NotConnected("program_failed", "no such card")
        voice = speaker.announce()
        await asyncio.sleep(1)
        assert bench.stages(voice) == ["queued", "queued"]
        bench.handle.error = None
        await asyncio.sleep(2)
        assert bench.stages(voice) == ["queued", "queued", "ready"]

    on_bench(work)


def test_a_lower_class_pauses_for_it_and_goes_on_after_it() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        music = bench.broadcast("music 30", rank="background")
        await asyncio.sleep(5)
        voice = speaker.announce(rank="alert")
        await asyncio.sleep(1)
        await speaker.speak()
        await asyncio.sleep(40)
        assert bench.stages(voice) == ["queued", "ready", "started", "finished"]
        assert bench.stages(music) == ["queued", "started", "paused", "resumed", "finished"]

    on_bench(work)


def test_an_emergency_interrupts_the_voice_which_goes_on_with_what_is_said_then() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        speaking = asyncio.create_task(speaker.speak(seconds=20))
        await asyncio.sleep(6)
        bench.broadcast("flood 4", rank="emergency")
        await speaking
        await asyncio.sleep(2)
        assert bench.stages(voice) == ["queued", "ready", "started", "paused", "resumed", "finished"]
        paused = next(told for told in bench.told(voice) if told.stage == "paused")
        assert paused.position == pytest.approx(6, abs=0.5)
        last = bench.told(voice)[-1].evidence
        assert float(last.partition(" ")[0]) == pytest.approx(10, abs=0.5)
        assert "before it was interrupted" in last

    on_bench(work)


def test_a_voice_that_ends_while_an_emergency_sounds_is_not_called_heard() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        speaking = asyncio.create_task(speaker.speak(seconds=4))
        await asyncio.sleep(2)
        bench.broadcast("flood 10", rank="emergency")
        await speaking
        await asyncio.sleep(12)
        assert bench.stages(voice) == ["queued", "ready", "started", "paused", "failed"]
        assert "before it could go on" in bench.told(voice)[-1].reason

    on_bench(work)


def test_nobody_speaks() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        await asyncio.sleep(FIRST_SECONDS + 2)
        assert bench.stages(voice) == ["queued", "ready", "failed"]
        assert "no voice came" in bench.told(voice)[-1].reason

    on_bench(work)


def test_a_link_that_breaks_ends_the_voice_within_two_seconds() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        await speaker.speak(ends=False)
        await asyncio.sleep(2.5)
        assert bench.stages(voice) == ["queued", "ready", "started", "finished"]
        assert "broke off" in bench.told(voice)[-1].evidence
        assert not bench.handle.sounds

    on_bench(work)


def test_it_is_taken_away_while_it_sounds() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        speaking = asyncio.create_task(speaker.speak(seconds=4))
        await asyncio.sleep(2)
        assert bench.station.cancel(voice, "withdrawn")
        await asyncio.sleep(0.2)
        assert not bench.handle.sounds
        await speaking
        assert bench.stages(voice) == ["queued", "ready", "started", "cancelled"]

    on_bench(work)


def test_a_box_that_starts_anew_joins_in_again() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        voice = speaker.announce()
        speaking = asyncio.create_task(speaker.speak(seconds=10))
        await asyncio.sleep(4)
        await bench.kill()
        await speaking
        await asyncio.sleep(1)
        assert bench.ends(voice) == ["finished"]
        assert [span.name for span in bench.handle.spans] == ["live", "live"]

    on_bench(work)


def test_a_card_that_is_plugged_in_again_goes_on() -> None:
    async def work(bench: Bench, speaker: Speaker) -> None:
        assert isinstance(bench.handle, Card)
        bench.handle.error = NotConnected("program_failed", "no such card")
        voice = speaker.announce()
        speaking = asyncio.create_task(speaker.speak(seconds=10))
        await asyncio.sleep(2)
        bench.handle.error = None
        await speaking
        await asyncio.sleep(1)
        assert bench.ends(voice) == ["finished"]

    on_bench(work)

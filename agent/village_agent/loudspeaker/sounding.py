"""One attempt to let a loudspeaker be heard: amplifier, chime, then the sound from a position on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from village_agent.loudspeaker.scripts import LiveScript, Script, SpokenScript, TrackScript
from village_drivers.abilities import FilePlayer, LivePlayer, Loudspeaker, PunctualPlayer, TrackPlayer, abilities_of
from village_drivers.kit import DriverError, NotConnected, Refused
from village_wire.broadcasts import MAX_AUDIO_SECONDS, MAX_LIVE_SECONDS

if TYPE_CHECKING:
    from village_agent.loudspeaker.instep import Moments
    from village_agent.loudspeaker.live.listening import Listening
    from village_agent.loudspeaker.witness import Witness

#: How often it is looked whether the first sample is out.
_POLL_SECONDS = 0.02
#: A device that shows no position and speaks for so long without an error does speak.
_SURE_SECONDS = 3.0
#: Slow speech takes 0.4 s a character; what takes much longer hangs.
_SECONDS_PER_CHARACTER = 0.8
_SLACK_SECONDS = 60.0
#: A driver that does not end when it is cancelled must not hold up the next announcement.
_SILENCE_SECONDS = 5.0


class Overdue(Exception):
    """The device did not end in time; the text says what."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be heard. `power` returns once the amplifier is on, or why it may not be.

    `witness` measures and listens meanwhile. `moments` is when chime and content begin, for a `PunctualPlayer`; None: at once.
    """

    script: Script
    begin: float
    volume: float | None
    chime: Path | None = None
    power: Callable[[], Awaitable[str]] | None = None
    moments: Moments | None = None
    witness: Witness | None = None


class Sounding:
    """`run` is given to a task; cancelling that silences the device."""

    def __init__(
        self,
        identity: str,
        handle: object | None,
        plan: Plan,
        now_ns: Callable[[], int],
        on_first: Callable[[int], None],
        on_ready: Callable[[str, str], None] = lambda _reason, _evidence: None,
    ) -> None:
        """`handle` is None where the device is away. `on_first` gets the time of the first sample, in nanoseconds since 1970.

        `on_ready` is called once a live voice that has not begun would be heard; it gets why it may not be even so, and evidence.
        """
        self.id = identity
        self.plan = plan
        self.busy = asyncio.Event()
        self._handle = handle
        self._now_ns = now_ns
        self._on_first = on_first
        self._on_ready = on_ready
        self._sentence = plan.begin
        self._in_file = False
        self._told = False
        self._listening: Listening | None = None

    @property
    def position(self) -> float:
        """Where the sound goes on if it is cut off now: seconds or sentences."""
        if isinstance(self.plan.script, SpokenScript):
            return self._sentence
        if isinstance(self.plan.script, LiveScript):
            return self.plan.begin + (0.0 if self._listening is None else self._listening.heard_seconds)
        if isinstance(self.plan.script, TrackScript) or not self._in_file:
            return self.plan.begin
        return max(self.plan.begin, min(cast("FilePlayer", self._handle).position_seconds, self.plan.script.seconds))

    async def run(self) -> str:
        """Return the evidence that the sound was heard to its end.

        Raises:
            DriverError: see `abilities.Loudspeaker.say`; `NotConnected` also where there is no such device now.
            Overdue: the device hangs.
        """
        if self._handle is None:
            raise NotConnected("line_closed", "the loudspeaker is not there now")
        witness = self.plan.witness
        if witness is None:
            return await self._sound(self._handle)
        async with witness.watching():
            evidence = await self._sound(self._handle)
        await witness.wait()
        return evidence

    async def _sound(self, handle: object) -> str:
        witness = self.plan.witness
        notes = [await self.plan.power()] if self.plan.power is not None else []
        if witness is not None:
            await witness.powered()
        able = abilities_of(handle)
        script = self.plan.script
        if self.plan.chime is not None and "file_player" in able:
            try:
                async with nullcontext() if witness is None else witness.listening():
                    await self._play(
                        self.plan.chime, 0.0, _SLACK_SECONDS, self.plan.moments and self.plan.moments.chime
                    )
            except Refused as error:
                if error.code in INTERRUPTED:
                    raise
                notes.append(f"no chime: {error}")
        if isinstance(script, SpokenScript):
            evidence = await self._speak(script)
        elif isinstance(script, LiveScript):
            evidence = await self._listen(script, notes[0] if self.plan.power is not None else "")
        elif isinstance(script, TrackScript):
            evidence = await self._play_track(script)
        elif "file_player" in able:
            await script.made()
            # The player's own position counts from here on; before, it was the chime's.
            at = self.plan.moments and self.plan.moments.content
            evidence = await self._play(
                script.path, self.plan.begin, script.seconds - self.plan.begin, at, content=True
            )
        else:
            raise Refused("rejected", "this loudspeaker plays no files")
        return "; ".join(note for note in (evidence, *notes) if note)

    async def _play(
        self, path: Path, begin: float, seconds: float, at: float | None = None, *, content: bool = False
    ) -> str:
        player = cast("FilePlayer", self._handle)
        volume = self.plan.volume
        wait = 0.0 if at is None else max(0.0, at - self._now_ns() / 1e9)

        async def play() -> str:
            if wait and isinstance(player, PunctualPlayer):
                work = player.play_at(str(path), volume, asyncio.get_running_loop().time() + wait)
            else:
                work = player.play_from(str(path), volume, begin)
            self._in_file = content
            return await work

        # A live voice has not started when its chime sounds: that it is ready is told in between.
        before_voice = isinstance(self.plan.script, LiveScript)

        def heard() -> float | None:
            position = player.position_seconds - begin
            return position if position > 0 and not before_voice else None

        try:
            return await self._watched(play(), heard, wait + seconds + _SLACK_SECONDS, silent=before_voice)
        except Refused as error:
            if error.code == "busy":
                # The position is that of another's sound.
                self._in_file = False
            raise

    async def _listen(self, script: LiveScript, doubt: str) -> str:
        from village_agent.loudspeaker.live.listening import Listening

        player = cast("LivePlayer", self._handle)
        listening = self._listening = Listening(script.voice, script.clock)

        ready = False

        def heard() -> float | None:
            nonlocal ready
            if listening.before is not None:
                since = player.position_seconds - listening.before
                return since if since > 0 else None
            # Silence that comes out shows that a voice would; before the player asked for any, its position is the chime's.
            if not ready and listening.given_seconds > 0 and player.position_seconds > 0:
                ready = True
                self._on_ready(doubt, f"{listening.since_told:.1f} s after it was told")
            return None

        try:
            evidence = await self._watched(
                player.play_live(listening, self.plan.volume), heard, MAX_LIVE_SECONDS + _SLACK_SECONDS, silent=True
            )
        finally:
            listening.close()
        if listening.before is None:
            over = "it was over before it could go on" if self.plan.begin else "it was over before its turn"
            raise Refused("unplayable", listening.problem or over)
        self._first(self._now_ns())
        before = f", after {self.plan.begin:.2f} s before it was interrupted" if self.plan.begin else ""
        return f"{listening.evidence}{before}; {evidence}"

    async def _play_track(self, script: TrackScript) -> str:
        player = self._handle
        if not isinstance(player, TrackPlayer):
            raise Refused("rejected", "this loudspeaker has no tracks of its own")
        self.busy.clear()
        work = player.play_track(script.folder, script.number, self.plan.volume)
        # Until it says so it may still look for the track.
        return await self._watched(
            work, lambda: 0.0 if self.busy.is_set() else None, MAX_AUDIO_SECONDS + _SLACK_SECONDS
        )

    async def _speak(self, script: SpokenScript) -> str:
        speaker = cast("Loudspeaker", self._handle)
        said = []
        for index in range(int(self.plan.begin), len(script.sentences)):
            text = script.sentences[index]
            called = asyncio.get_running_loop().time()
            self.busy.clear()

            def heard(since: float = called) -> float | None:
                seconds = asyncio.get_running_loop().time() - since
                if self.busy.is_set():
                    return 0.0
                return seconds if seconds > _SURE_SECONDS else None

            limit = _SLACK_SECONDS + _SECONDS_PER_CHARACTER * len(text)
            said.append(await self._watched(speaker.say(text, self.plan.volume), heard, limit))
            self._sentence = index + 1.0
        return said[0] if len(said) == 1 else f"{len(said)} sentences: {'; '.join(said)}"

    async def _watched(
        self, work: Coroutine[Any, Any, str], heard: Callable[[], float | None], limit: float, *, silent: bool = False
    ) -> str:
        """Wait for the end of a sound; `heard` is for how long it has been sounding, None before its first sample.

        Something was heard when it ends well, unless it may be `silent`.
        """
        begun = self._now_ns()
        task = asyncio.create_task(work, name=f"sound {self.id}")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        try:
            while not task.done() and not self._told and loop.time() < deadline:
                await asyncio.wait([task], timeout=_POLL_SECONDS)
                seconds = heard() if not task.done() else None
                if seconds is not None:
                    self._first(self._now_ns() - int(seconds * 1e9))
            await asyncio.wait([task], timeout=max(0.0, deadline - loop.time()))
            if not task.done():
                raise Overdue(f"the loudspeaker did not end within {limit:.0f} s")
            evidence = task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=_SILENCE_SECONDS)
        if not silent:
            # Shorter than one look at it.
            self._first(begun)
        return evidence

    def _first(self, time_ns: int) -> None:
        if not self._told:
            self._told = True
            if self.plan.witness is not None:
                self.plan.witness.sounds()
            self._on_first(time_ns)


#: Codes of `Refused` that mean: not this time, rather than never.
INTERRUPTED = frozenset({"busy", "interrupted", "silenced", "power_fault"})


def is_hopeless(error: Exception) -> bool:
    """Whether trying again can't help: the sound itself is no good."""
    return isinstance(error, Refused) and error.code in {"unplayable", "track_missing"}


def reason_of(error: Exception) -> str:
    """What to tell about a sound that failed."""
    if isinstance(error, DriverError | Overdue):
        return str(error)
    return f"fault of the program: {type(error).__name__}"

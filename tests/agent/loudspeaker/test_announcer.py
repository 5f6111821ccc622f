"""The announcer against a slow model that looks at every second anew, and against what listeners may rely on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from village_agent.loudspeaker.announcer import LOUD_AT_NIGHT, Announcement, Announcer
from village_wire.broadcasts import CLASSES

HORIZON = 120


@dataclass(frozen=True)
class Plan:
    """An announcement, when it arrives, how long it sounds, when somebody cancels it."""

    announcement: Announcement
    arrival: int
    length: int
    cancelled: int | None


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    found = []
    for number in range(draw(st.integers(1, 7))):
        arrival = draw(st.integers(0, 40))
        start = arrival + draw(st.integers(0, 10))
        announcement = Announcement(
            id=str(number),
            rank=draw(st.sampled_from(CLASSES)),
            content=draw(st.sampled_from("abcdef")),
            start=start,
            end=start + draw(st.integers(1, 60)),
            times=draw(st.integers(1, 3)),
            pause=draw(st.integers(0, 5)),
        )
        cancelled = draw(st.none() | st.integers(arrival, 80))
        found.append(Plan(announcement, arrival, draw(st.integers(1, 15)), cancelled))
    return sorted(found, key=lambda plan: plan.arrival)


nights = st.none() | st.tuples(st.integers(0, 60), st.integers(1, 40))


@dataclass
class Outcome:
    """What was heard in each second, and what became of each announcement."""

    heard: list[tuple[str, int] | None] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)


def is_quiet(night: tuple[int, int] | None, now: int) -> bool:
    return night is not None and night[0] <= now < night[0] + night[1]


def by_announcer(plan: list[Plan], night: tuple[int, int] | None) -> Outcome:
    """A loudspeaker of one-second samples that does what the announcer says."""
    announcer, outcome = Announcer(), Outcome()
    lengths = {item.announcement.id: item.length for item in plan}
    position = 0
    for now in range(HORIZON):
        if announcer.playing is not None and position == lengths[announcer.playing]:
            told = announcer.finished(now)
            if told is not None:
                outcome.ends[told.id] = told.stage
        for item in plan:
            if item.arrival == now:
                told = announcer.add(item.announcement, now)
                if told.stage != "queued":
                    outcome.ends[told.id] = told.stage
        for item in plan:
            if item.cancelled == now:
                told = announcer.cancel(item.announcement.id, "no more")
                if told is not None:
                    outcome.ends[told.id] = told.stage
        wanted, over = announcer.choose(now, quiet=is_quiet(night, now))
        outcome.ends.update({told.id: told.stage for told in over})
        if wanted is not None and wanted.announcement.id != announcer.playing:
            if announcer.playing is not None:
                announcer.paused(position)
            position = int(wanted.position)
            announcer.started(wanted.announcement.id)
        if announcer.playing is None:
            outcome.heard.append(None)
        else:
            outcome.heard.append((announcer.playing, position))
            position += 1
    return outcome


def by_model(plan: list[Plan], night: tuple[int, int] | None) -> Outcome:
    """The rules as a person would check them, second by second, with nothing remembered but counters."""
    outcome = Outcome()
    waiting: dict[str, dict[str, Any]] = {}
    plays: str | None = None
    of = {item.announcement.id: item for item in plan}
    for now in range(HORIZON):
        if plays is not None and waiting[plays]["at"] == of[plays].length:
            state, wanted = waiting[plays], of[plays].announcement
            state["times"] += 1
            again = now + wanted.pause
            if state["times"] < wanted.times and again < wanted.end:
                state.update(at=0, begun=False, due=again)
            else:
                outcome.ends[plays] = "finished"
                del waiting[plays]
            plays = None
        for item in plan:
            if item.arrival != now:
                continue
            new = item.announcement
            if now >= new.end or any(
                of[other].announcement.rank == new.rank
                and of[other].announcement.content == new.content
                and state["times"] == 0
                and not state["begun"]
                for other, state in waiting.items()
            ):
                outcome.ends[new.id] = "skipped"
            else:
                waiting[new.id] = {
                    "at": 0,
                    "times": 0,
                    "begun": False,
                    "due": int(new.start),
                    "order": len(outcome.heard) * 100 + int(new.id),
                }
        for item in plan:
            if item.cancelled == now and item.announcement.id in waiting:
                outcome.ends[item.announcement.id] = "cancelled"
                del waiting[item.announcement.id]
                plays = None if plays == item.announcement.id else plays
        for name in list(waiting):
            if name != plays and now >= of[name].announcement.end:
                state = waiting.pop(name)
                outcome.ends[name] = "preempted" if state["begun"] else "finished" if state["times"] else "skipped"
        for rank in CLASSES:
            ready = [
                name
                for name, state in waiting.items()
                if of[name].announcement.rank == rank
                and (name == plays or (state["due"] <= now and (not is_quiet(night, now) or rank in LOUD_AT_NIGHT)))
            ]
            if plays in ready:
                break
            if ready:
                begun = [name for name in ready if waiting[name]["begun"]]
                plays = (begun or ready)[0]
                waiting[plays]["begun"] = True
                break
        else:
            assert plays is None
        if plays is None:
            outcome.heard.append(None)
        else:
            outcome.heard.append((plays, int(waiting[plays]["at"])))
            waiting[plays]["at"] += 1
    return outcome


@given(plans(), nights)
def test_it_plays_what_the_rules_say(plan: list[Plan], night: tuple[int, int] | None) -> None:
    assert by_announcer(plan, night) == by_model(plan, night)


@given(plans(), nights)
def test_every_second_of_a_finished_announcement_was_heard_once_and_in_order(
    plan: list[Plan], night: tuple[int, int] | None
) -> None:
    outcome = by_announcer(plan, night)
    for item in plan:
        heard = [second for name, second in filter(None, outcome.heard) if name == item.announcement.id]
        whole, rest = divmod(len(heard), item.length)
        assert heard == [*range(item.length)] * whole + [*range(rest)]
        if outcome.ends.get(item.announcement.id) == "finished":
            assert rest == 0
            assert 1 <= whole <= item.announcement.times


@given(plans())
def test_nothing_of_a_lower_class_sounds_while_a_higher_one_is_due(plan: list[Plan]) -> None:
    outcome = by_announcer(plan, None)
    ranks = {item.announcement.id: CLASSES.index(item.announcement.rank) for item in plan}
    heard = {name for name, _ in filter(None, outcome.heard)}
    for now, sound in enumerate(outcome.heard):
        for item in plan:
            name = item.announcement.id
            first = next(
                (at for at, other in enumerate(outcome.heard) if other is not None and other[0] == name), HORIZON
            )
            if name in heard and item.announcement.start <= now < first and sound is not None and item.arrival <= now:
                assert ranks[sound[0]] <= ranks[name]

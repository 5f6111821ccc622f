"""Which status of an agent counts: messages of several connections arrive in any order, and more than once. No I/O, no clock.

An agent takes a new session id at each start and counts its connections. It leaves the number of its connection in the will, so the will
of an earlier connection can be told from a living one's, however late it comes:

- An earlier connection, or a session that a later one has followed, is over: what it still says changes nothing.
- Within one connection the end is final: the greeting that comes after its will was held up.
- The first thing known of an agent counts, whatever it is.

Agents of the first version count no connections; of their messages the one that comes last counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from village_wire.presence import AgentStatus

#: new: it changes the agent's condition. same: it tells what is known. stale: it is about an earlier connection.
Verdict = Literal["new", "same", "stale"]


class Known(NamedTuple):
    """What is known of an agent: its present session, and the greatest connection number of this and of earlier sessions.

    A number is None where an agent counts no connections.
    """

    online: bool | None = None
    session: str | None = None
    connections: Mapping[str, int | None] = {}


def judge(known: Known, status: AgentStatus) -> Verdict:
    """Say what a status changes."""
    if known.session is None:
        return "new"
    offered = status.connection
    if status.session != known.session:
        if not status.online:
            return "stale"
        if status.session not in known.connections:
            return "new"
        # A session that goes on counting after another one began is alive: two boxes have the same id.
        greatest = known.connections[status.session]
        return "new" if greatest is None or (offered is not None and offered > greatest) else "stale"
    greatest = known.connections.get(status.session)
    if offered is None or greatest is None or offered > greatest:
        return "same" if status.online == known.online and offered in {None, greatest} else "new"
    if offered < greatest:
        return "stale"
    if status.online == known.online:
        return "same"
    return "stale" if status.online else "new"

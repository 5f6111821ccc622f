"""The sessions and connections of agents, and when their links were lost. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from village_collector.links import Known
from village_collector.stores.tables import agents, link_losses, sessions
from village_wire.presence import AgentStatus

#: Sessions of one agent that are told apart; an older one would have to come back after so many starts.
MAX_SESSIONS = 8
#: Losses are counted over minutes.
_LOSSES_KEPT = timedelta(hours=1)


def read_link(connection: Connection, agent: str) -> Known | None:
    """Return what is known of an agent's connection; None for an agent that was never heard of."""
    row = connection.execute(select(agents.c.online, agents.c.session).where(agents.c.agent == agent)).one_or_none()
    if row is None:
        return None
    found = connection.execute(select(sessions.c.session, sessions.c.connection).where(sessions.c.agent == agent))
    return Known(row.online, row.session, {one.session: one.connection for one in found})


def note_connection(connection: Connection, agent: str, status: AgentStatus) -> None:
    """Keep the connection number of a status that counts as the greatest of its session."""
    mine = (sessions.c.agent == agent) & (sessions.c.session == status.session)
    if connection.execute(update(sessions).where(mine).values(connection=status.connection)).rowcount:
        return
    connection.execute(insert(sessions).values(agent=agent, session=status.session, connection=status.connection))
    numbers = connection.scalars(
        select(sessions.c.number).where(sessions.c.agent == agent).order_by(sessions.c.number.desc())
    ).all()
    if len(numbers) > MAX_SESSIONS:
        connection.execute(delete(sessions).where(sessions.c.number.in_(numbers[MAX_SESSIONS:])))


def note_link_loss(connection: Connection, agent: str, status: AgentStatus, received: datetime) -> None:
    """Note that a connection ended, once for each connection."""
    number = status.connection or 0
    mine = (
        (link_losses.c.agent == agent)
        & (link_losses.c.session == status.session)
        & (link_losses.c.connection == number)
    )
    if connection.scalar(select(func.count()).where(mine)):
        return
    connection.execute(
        delete(link_losses).where(link_losses.c.agent == agent, link_losses.c.received < received - _LOSSES_KEPT)
    )
    connection.execute(
        insert(link_losses).values(agent=agent, session=status.session, connection=number, received=received)
    )

"""Messages that were refused, with the reason."""

from __future__ import annotations

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from village_collector.api.access import Maintainer
from village_collector.api.common import Limit, answer
from village_collector.api.deps import Provided

router = APIRouter(tags=["dead letters"])


class DeadLetterDocument(TypedDict):
    """One refused message; `content` is its beginning, bytes that are no UTF-8 written in hexadecimal."""

    agent: str
    topic: str
    received: str
    reason: str
    content: str


class DeadLettersDocument(TypedDict):
    """`village.dead-letters/1`."""

    schema: str
    letters: list[DeadLetterDocument]


@router.get("/dead-letters", response_model=DeadLettersDocument, summary="Refused messages")
def dead_letters(deps: Provided, caller: Maintainer, limit: Limit = 100) -> Response:
    """The newest first; those whose sender is not known only to who maintains everything.

    被拒绝的消息，最新的在前；发送者未知的仅对全局维护者可见。
    """
    letters = [
        {
            "agent": letter.agent,
            "topic": letter.topic,
            "received": letter.received,
            "reason": letter.reason,
            "content": letter.content.decode(errors="backslashreplace"),
        }
        for letter in deps.control.dead_letters(limit, caller.areas("maintain"))
    ]
    return answer("dead-letters", {"letters": letters})

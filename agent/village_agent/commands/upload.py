"""Uploads a picture to the collector with a one-time token. Blocks; run it in a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from village_agent.https import NotReached, call, trust

#: The collector's limit.
MAX_PICTURE_BYTES = 4 * 1024 * 1024
#: An answer has no body worth reading; a problem document is far smaller.
_MAX_ANSWER = 64 * 1024


class UploadFailed(Exception):
    """The picture did not arrive; the text is the reason, without the token."""


def upload_jpeg(
    url: str, token: str, picture: bytes, ca_file: Path | None, check_time: Callable[[], bool] = lambda: True
) -> None:
    """POST a picture as `image/jpeg`; raises `UploadFailed`.

    `check_time` tells whether this box has a clock by which certificates can be judged.
    """
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
    try:
        # The command's model admits http and https only.
        context = trust(ca_file, check_time=check_time()) if url.startswith("https:") else None
        answer = call("POST", url, context, limit=_MAX_ANSWER, body=picture, headers=headers)
    except NotReached as error:
        raise UploadFailed(f"the collector can't be reached for the upload: {error}") from None
    # A redirection would take the token along to wherever it points.
    if not 200 <= answer.status < 300:
        raise UploadFailed(f"the collector answers {answer.status} {answer.reason}")

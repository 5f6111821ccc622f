"""Uploads a picture to the collector with a one-time token. Blocks; run it in a thread."""

from __future__ import annotations

import ssl
from pathlib import Path

#: The collector's limit.
MAX_PICTURE_BYTES = 4 * 1024 * 1024
TIMEOUT_SECONDS = 20.0


class UploadFailed(Exception):
    """The picture did not arrive; the text is the reason, without the token."""


def upload_jpeg(url: str, token: str, picture: bytes, ca_file: Path | None) -> None:
    """POST a picture as `image/jpeg`; raises `UploadFailed`."""
    # Costs 4 MB and is seldom needed.
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        # urllib would take the token along to wherever the answer points.
        def redirect_request(self, *_: object, **__: object) -> None:
            """Follow no redirection."""

    handlers: list[urllib.request.BaseHandler] = [NoRedirect(), urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        try:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
        except (OSError, ssl.SSLError) as error:
            raise UploadFailed(f"ca_file: {error}") from None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
    try:
        # The command's model admits http and https only.
        request = urllib.request.Request(url, picture, headers, method="POST")  # noqa: S310
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise UploadFailed(f"the collector answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UploadFailed(f"the collector can't be reached for the upload: {error}") from None

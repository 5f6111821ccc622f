"""The child process that asks for a new certificate, so that the agent stays small: what it needs takes 3 MB.

    python -m village_agent.identity.renewing STATE_DIR

It reads the identity, and writes nothing but the new key. On stdout: what was issued, as JSON, with exit code 0; or the reason, with 1
where trying again may help, with 2 where the collector refuses.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from village_agent.identity.folder import AUTHORITY, CERTIFICATE, KEY, InvalidIdentity, Record, read_identity, read_key

EXIT_AGAIN = 1
EXIT_REFUSED = 2


class Renewed(BaseModel):
    """What the child hands over; the key lies in the state directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    record: Record
    certificate: str
    document: str


def read_renewed(text: bytes, state_dir: Path, authority: bytes) -> tuple[Record, dict[str, bytes], bytes]:
    """Return what `write_identity` takes.

    Raises:
        InvalidIdentity: the child wrote something else.
        OSError: the key can't be read.
    """
    try:
        renewed = Renewed.model_validate_json(text)
    except ValidationError:
        raise InvalidIdentity("the renewal ended without a certificate") from None
    key = read_key(state_dir)
    if key is None:
        raise InvalidIdentity("the key of the renewal is gone")
    files = {KEY: key, CERTIFICATE: renewed.certificate.encode(), AUTHORITY: authority}
    return renewed.record, files, renewed.document.encode()


def main(state_dir: Path) -> int:
    """Ask once; return the exit code."""
    from village_agent.https import NotReached
    from village_agent.identity.enrolment import InvalidUrl, Refused, renew
    from village_wire.enrolment import InvalidEnrolment

    try:
        identity = read_identity(state_dir)
        if identity is None:
            _say(f"there is no identity in {state_dir}")
            return EXIT_AGAIN
        issued = renew(identity, state_dir)
    except Refused as error:
        _say(f"{identity.record.api if identity else ''} refuses: {error}")
        return EXIT_REFUSED
    except (InvalidIdentity, InvalidUrl, NotReached, InvalidEnrolment, ValueError) as error:
        _say(str(error))
        return EXIT_AGAIN
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}")
        return EXIT_AGAIN
    renewed = Renewed(
        record=issued.record, certificate=issued.files[CERTIFICATE].decode(), document=issued.document.decode()
    )
    _say(renewed.model_dump_json())
    return 0


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the answer to the agent


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

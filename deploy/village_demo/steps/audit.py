"""What people did."""

from __future__ import annotations

import json

from village_demo.desk import Desk, StepFailed


async def audit_log(desk: Desk) -> str:
    """Acts and refusals are in the log, which verifies."""
    code, text, errors = await desk.village.village("audit", "list", "--json")
    entries = json.loads(text)["entries"] if code == 0 else []
    done = {(entry["action"], entry["outcome"]) for entry in entries}
    if missing := {("door.unlock", "allowed"), ("door.unlock", "refused"), ("camera.snapshot", "allowed")} - done:
        raise StepFailed(f"the audit log lacks {missing} {errors}")
    code, text, errors = await desk.village.village("audit", "verify")
    if code != 0:
        raise StepFailed(errors or text)
    return text.splitlines()[0]

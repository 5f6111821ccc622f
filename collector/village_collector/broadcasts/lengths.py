"""How long a broadcast sounds, as far as the collector can know. Pure."""

from __future__ import annotations

from village_wire.commands import Broadcast

#: Slow speech chips take 0.4 s a character, and the chime comes on top.
SECONDS_PER_CHARACTER, CHIME_SECONDS = 0.4, 10.0
#: Only the card knows how long its track is. While one that is longer sounds, its broadcast is called over and the loudspeaker unknown,
#: until the receipt of its end comes; with a longer bound, whoever waits for a box that died would wait as long.
TRACK_SECONDS = 1800.0


def length(content: Broadcast) -> float:
    """Return how many seconds of sound a broadcast has at the most."""
    if content.live is not None:
        # It ends by itself, and is noted as ended then.
        return CHIME_SECONDS
    if content.audio is not None:
        one = content.audio.seconds
    elif content.track is not None:
        one = TRACK_SECONDS
    else:
        one = len(content.text or "") * SECONDS_PER_CHARACTER
    return (one + CHIME_SECONDS) * content.times + content.pause * (content.times - 1)

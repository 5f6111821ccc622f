"""The setting `output` and the volume's curve."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.drivers.recorder import NoServices
from village_drivers.abilities import ABILITIES, abilities_of
from village_drivers.registry import DRIVERS
from village_drivers.sound.driver import Sound, SoundConfig
from village_drivers.sound.output import Output
from village_drivers.sound.pcm import gain


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("alsa:plughw:1,0", "alsa", "plughw:1,0"),
        ("pulse", "pulse", ""),
        ("pulse:horn", "pulse", "horn"),
        ("file:/var/horn.wav", "file", "/var/horn.wav"),
    ],
)
def test_outputs_are_taken_apart_and_put_together(text: str, kind: str, target: str) -> None:
    output = Output.parse(text)
    assert (output.kind, output.target) == (kind, target)
    assert str(output) == text


@pytest.mark.parametrize("text", ["", "alsa", "alsa:", "file:horn.wav", "oss:/dev/dsp"])
def test_other_outputs_are_refused_by_the_configuration(text: str) -> None:
    with pytest.raises(ValidationError, match="must be alsa:DEVICE"):
        SoundConfig(id="horn", driver="sound", output=text)


@pytest.mark.parametrize("voice", ["zh yue", "../x", "-x\n"])
def test_a_voice_is_a_name(voice: str) -> None:
    with pytest.raises(ValidationError):
        SoundConfig(id="horn", driver="sound", voice=voice)


def test_the_volume_curve_is_silent_at_0_whole_at_100_and_rises() -> None:
    assert gain(0) == 0
    assert gain(100) == 1
    assert gain(50) == pytest.approx(0.125)
    assert all(gain(n) < gain(n + 1) for n in range(100))


def test_it_is_registered_and_speaks_and_plays() -> None:
    driver = DRIVERS["sound"].load()
    assert driver is Sound
    device = Sound(SoundConfig(id="horn", driver="sound"), NoServices()).devices()["horn"]
    assert device.kind == "loudspeaker"
    assert abilities_of(device.handle) == ("loudspeaker", "file_player", "live_player")
    assert "loudspeaker" in ABILITIES

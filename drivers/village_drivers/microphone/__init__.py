"""Microphones: a sound card or PulseAudio source that is heard for moments only."""

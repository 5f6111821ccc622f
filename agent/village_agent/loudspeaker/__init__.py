"""Announcements on loudspeakers: which is heard when, how loud, and what is told about it."""

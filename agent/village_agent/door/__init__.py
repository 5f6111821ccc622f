"""Doors decide alone: no network is needed to let the right person in and to keep the wrong one out."""

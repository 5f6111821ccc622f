"""Loudspeakers on a LAN that play in step, by Snapcast."""

"""Broadcasts: issued, sent to agents that come back, withdrawn, and counted by what was heard."""

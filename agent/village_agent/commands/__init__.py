"""Commands: verified, at most once, executed, answered."""

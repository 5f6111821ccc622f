"""Who this agent is to its collector: key, certificate, the authority it trusts, and the keys that sign commands."""

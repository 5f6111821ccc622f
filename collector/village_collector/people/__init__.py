"""Who may do what: roles bound to areas, passwords, tokens, and the throttle of logins."""

"""Who may do what: keys, sessions, roles, request rates."""

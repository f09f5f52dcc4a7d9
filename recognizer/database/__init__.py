"""A PostgreSQL database that several nodes share: connections, tables, and the feed of changes."""

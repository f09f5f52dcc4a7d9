"""Galleries whose templates are in PostgreSQL: searched in a copy in memory, or in the database."""

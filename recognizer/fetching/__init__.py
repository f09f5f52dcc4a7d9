"""URLs to bytes, with a guard against addresses that must not be reached."""

"""Asynchronous jobs: large batches of photos that are worked off in the background, and survive a restart."""

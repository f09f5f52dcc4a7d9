"""Detects, tracks and names faces on frames: what runs when, and on which threads."""

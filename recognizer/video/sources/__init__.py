"""Cameras, streams and recordings: from a source to its newest frame."""

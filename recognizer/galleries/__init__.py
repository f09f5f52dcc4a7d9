"""Storage and search of templates, and the arithmetic of distances, thresholds and groups."""

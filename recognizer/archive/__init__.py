"""Folders of photos grouped by person, and the page that shows the groups."""

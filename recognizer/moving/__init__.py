"""People and photos out of other services and out of files, on their way into known_faces.

Knows where photos are, not how they are enrolled: `import_photos` is given the function that enrols one.
"""

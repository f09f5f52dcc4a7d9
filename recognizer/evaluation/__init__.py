"""Measuring an engine on photos of one's own: verification, identification and detection.

Nothing here knows the service or the settings. Terms are those of ISO/IEC 19795-1 (see docs/accuracy.md):

- FMR, FNMR: of comparisons of two photos, how many of different people match, how many of one person do not.
- FPIR, FNIR: of searches in a gallery, how many for a stranger give a name, how many for an enrolled person do not
  give that person's.

``pairs`` and ``boxes`` read what is to be measured, ``encode`` and ``detection`` look at the photos, ``verification``,
``identification`` and ``detection`` count, ``intervals`` says how far a count can be trusted, ``plots`` draws.
"""

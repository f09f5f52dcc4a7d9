"""Evaluation of an engine on the user's photos: verification, identification and detection.

This package is independent of the service and the settings. Terms are those of ISO/IEC 19795-1 (see docs/accuracy.md):

- FMR, FNMR: the share of comparisons of different people that match, and of comparisons of one person that do not. - FPIR,
FNIR: the share of searches for strangers that return a name, and of searches for enrolled people that do not return theirs.

``pairs``, ``boxes``, ``people_folders`` and ``yolo`` read the ground truth; ``encode`` and ``detection`` process the photos;
``verification``, ``identification``, ``detection`` and ``object_metrics`` compute rates, ``intervals`` their confidence
intervals; ``plots`` draws.
"""

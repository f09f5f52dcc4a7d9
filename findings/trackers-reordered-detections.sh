#!/usr/bin/env bash
# trackers 2.6.1 with supervision 0.31.2 (read 2026-11-30): ByteTrackTracker.update() returns the detections in another order as soon as
# the score of one falls below high_conf_det_threshold (0.6), as that of somebody who turns away does. Until then the order is
# that of the detector, and SORTTracker of the same package always keeps it. A program that describes faces in the detector's order,
# and then takes the numbers of the tracks in theirs, gives everybody in the picture somebody else's name.
# What belongs to a detection has to travel in detections.data, which is reordered too.
#
#   bash findings/trackers-reordered-detections.sh
#
# Installs the pinned packages into a temporary folder, and tracks three faces that keep their places; the first one turns away in
# the third picture. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client trackers==2.6.1 supervision==0.31.2 numpy==2.4.6
cd "$work"
cat > try.py <<'PY'
import sys

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker, SORTTracker

NAMES = ["Ada", "Grace", "Joan"]
found = {}
for kind in (SORTTracker, ByteTrackTracker):
    tracker, found[kind.__name__] = kind(), []
    for first_score in (0.9, 0.9, 0.55):
        faces = np.array([[10, 10, 50, 50], [100, 10, 140, 50], [200, 10, 240, 50]], np.float32)
        tracked = tracker.update(sv.Detections(xyxy=faces, confidence=np.array([first_score, 0.95, 0.8]), data={"name": np.array(NAMES)}))
        found[kind.__name__].append(tracked.data["name"].tolist())
    print(kind.__name__, *found[kind.__name__])
moved = ["Grace", "Joan", "Ada"]
sys.exit(found != {"SORTTracker": [NAMES] * 3, "ByteTrackTracker": [NAMES, NAMES, moved]})
PY
if client/bin/python -W ignore try.py; then as_described "the order changes with the scores"; else changed; fi

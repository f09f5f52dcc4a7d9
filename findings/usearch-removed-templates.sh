#!/usr/bin/env bash
# usearch 2.26.6 (read 2026-11-30): Index.remove(), also with compact=True, hides a vector from searches and leaves its numbers where
# they are, until a later vector takes the place. save() writes them into the file: the embedding of somebody who was erased is on
# the disk and in every copy, in full, although len(), `in` and every search of a restored index say that it is not there.
# A new index, filled with those who stay, is without it.
#
#   bash findings/usearch-removed-templates.sh
#
# Installs the pinned package into a temporary folder, removes one of ten vectors, and looks for its bytes in the file.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client usearch==2.26.6 numpy==2.4.6
cd "$work"
cat > try.py <<'PY'
import sys
from pathlib import Path

import numpy as np
from usearch.index import Index

people = np.random.default_rng(1).normal(size=(10, 128)).astype(np.float32)
people /= np.linalg.norm(people, axis=1, keepdims=True)


def filled(keys: list[int]) -> Index:
    index = Index(ndim=128, metric="cos", dtype="f32")
    index.add(np.array(keys), people[keys])
    return index


def is_in_file(index: Index) -> bool:
    index.save("people.usearch")
    restored = Index.restore("people.usearch")
    found = restored.search(people[3], 10).keys.tolist()
    print(f"{len(restored)} people, 3 is one of them: {3 in restored}, a search for 3 finds {sorted(found)}")
    return people[3].tobytes() in Path("people.usearch").read_bytes()


kept = []
for compact in (False, True):
    index = filled(list(range(10)))
    index.remove(3, compact=compact)
    kept.append(is_in_file(index))
    print(f"remove(3, compact={compact}): the embedding is in the file: {kept[-1]}")
kept.append(is_in_file(filled([0, 1, 2, 4, 5, 6, 7, 8, 9])))
print(f"a new index of the others: {kept[-1]}")
sys.exit(kept != [True, True, False])
PY
if client/bin/python try.py; then as_described "what was removed is saved"; else changed; fi

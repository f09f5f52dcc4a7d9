#!/usr/bin/env bash
# hug 2.6.1 with falcon 2.0.0 (read 2026-11-30): a part of a route's path is replaced by a field of the body that has the same
# name. PUT /people/Ada with the JSON {"name": "Grace"}, with which a client means to rename Ada, calls the function with Grace:
# it never learns who was meant, while the address and every log of it say Ada. hug has no setting for this.
# Names of path parameters that no body has avoid it, or a middleware that takes them out there.
#
#   bash findings/hug-path-parameters.sh
#
# Installs the pinned packages into a temporary folder, and asks a route by hug's own test client.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client hug==2.6.1 falcon==2.0.0 "setuptools<81"
cd "$work"
cat > people.py <<'PY'
import hug


@hug.put("/people/{name}")
def change(name, born=None):
    return name
PY
cat > try.py <<'PY'
import sys

import hug
import people

found = [
    hug.test.put(people, "/people/Ada", {"born": "1815"}).data,
    hug.test.put(people, "/people/Ada", {"name": "Grace"}).data,
]
for asked, given in zip(('{"born": "1815"}', '{"name": "Grace"}'), found):
    print(f"PUT /people/Ada {asked}: the function gets {given!r}")
sys.exit(found != ["Ada", "Grace"])
PY
if client/bin/python -W ignore try.py; then as_described "the body replaces the path"; else changed; fi

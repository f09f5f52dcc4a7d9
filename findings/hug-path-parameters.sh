#!/usr/bin/env bash
# hug 2.6.1 with falcon 2.0.0 (read 2026-11-30): what stands in the address of a route is replaced by a parameter of the query or a
# field of the body that has the same name. DELETE /people/Ada?name=Grace calls the function with Grace, and so does
# PUT /people/Ada with the JSON {"name": "Grace"}, with which a client means to rename Ada: the function never learns who was
# meant, while the address and every log of it say Ada. hug has no setting for this.
# Names of path parameters that no query and no body has avoid it, or a middleware that refuses them there.
#
#   bash findings/hug-path-parameters.sh
#
# Installs the pinned packages into a temporary folder, and asks two routes by hug's own test client.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client hug==2.6.1 falcon==2.0.0 "setuptools<81"
cd "$work"
cat > people.py <<'PY'
import hug


@hug.delete("/people/{name}")
def erase(name):
    return name


@hug.put("/people/{name}")
def change(name):
    return name
PY
cat > try.py <<'PY'
import sys

import hug
import people

found = [
    hug.test.delete(people, "/people/Ada").data,
    hug.test.delete(people, "/people/Ada", name="Grace").data,
    hug.test.put(people, "/people/Ada", {"name": "Grace"}).data,
]
for asked, given in zip(("DELETE Ada", "DELETE Ada?name=Grace", 'PUT Ada {"name": "Grace"}'), found):
    print(f"{asked}: the function gets {given!r}")
sys.exit(found != ["Ada", "Grace", "Grace"])
PY
if client/bin/python -W ignore try.py; then as_described "query and body replace the path"; else changed; fi

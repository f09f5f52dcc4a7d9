#!/usr/bin/env bash
# compreface-sdk 0.6.0 (the newest on PyPI, read 2026-11-30): names of subjects go into addresses as they are. What follows & or #
# in a name is lost: photos of "Smith & Sons" are added to a subject "Smith ", and deleting "Smith & Sons" deletes the photos of
# "Smith ". The call returns what the server says, without an error.
# Names without & and #, or names that are percent-encoded before they are given, avoid it.
#
#   bash findings/compreface-sdk-raw-subjects.sh
#
# Installs the pinned package into a temporary folder, and lets it ask a server that writes down what is asked.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client compreface-sdk==0.6.0 "urllib3<2"
cd "$work"
printf '\xff\xd8\xff a photo' > photo.jpg
cat > try.py <<'PY'
import sys
from urllib.parse import parse_qs, urlsplit

from compreface import CompreFace
from server import asked, serve

port = serve(b'{"image_id": "1", "subject": "1"}')
collection = CompreFace("http://127.0.0.1", str(port)).init_face_recognition("key").get_face_collection()
collection.add(image_path="photo.jpg", subject="Smith & Sons")
collection.delete_all(subject="Smith & Sons")
collection.delete_all(subject="Smith #2")
read = [parse_qs(urlsplit(path).query, keep_blank_values=True).get("subject") for _, path in asked]
print(*asked, sep="\n")
print("subjects that a server reads:", read)
sys.exit(read != [["Smith "]] * 3)
PY
if client/bin/python try.py; then as_described "names end at & and #"; else changed; fi

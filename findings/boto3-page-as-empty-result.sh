#!/usr/bin/env bash
# boto3 1.44.8 with botocore 1.44.8 (read 2026-11-30): a reply with the status 200 that is no JSON at all, such as the sign-in page of a
# proxy, is a successful reply without content. SearchFacesByImage then has no FaceMatches, which programs read with .get() take for
# "nobody is known", and DeleteFaces seems to have been carried out. Nothing is raised, although the Content-Type says text/html.
# Programs have to look for a field that is always there, such as FaceModelVersion.
#
#   bash findings/boto3-page-as-empty-result.sh
#
# Installs the pinned packages into a temporary folder, and lets the client ask a server that answers every request with a page.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client boto3==1.44.8 botocore==1.44.8
cd "$work"
cat > try.py <<'PY'
import sys

import boto3
from server import asked, serve

port = serve(b"<!doctype html><title>Please sign in</title>", "text/html")
secrets = {"aws_access_key_id": "id", "aws_secret_access_key": "secret", "region_name": "eu-central-1"}
client = boto3.client("rekognition", endpoint_url=f"http://127.0.0.1:{port}", **secrets)
found = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": b"\xff\xd8\xff a photo"})
gone = client.delete_faces(CollectionId="staff", FaceIds=["11111111-1111-1111-1111-111111111111"])
shown = [{name: value for name, value in reply.items() if name != "ResponseMetadata"} for reply in (found, gone)]
print(f"{len(asked)} requests were answered with a page; search_faces_by_image and delete_faces return", shown)
sys.exit(shown != [{}, {}])
PY
if client/bin/python try.py; then as_described "a page is an empty result"; else changed; fi

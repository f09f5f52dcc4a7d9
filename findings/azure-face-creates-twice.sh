#!/usr/bin/env bash
# azure-ai-vision-face 1.0.0b2 with azure-core 1.41.0 (read 2026-11-30): requests that add something are sent again by the
# client itself after a status 500, 503 or 504, up to ten times. Where the first one was carried out and only its answer was lost,
# as behind a gateway that waited too short (504), the group has the person twice, and the program learns of one: deleting that
# one leaves the other, who is still recognised. azure-cognitiveservices-vision-face 0.6.1, which it replaces, repeats none of them.
# FaceAdministrationClient(..., retry_total=0) avoids it.
#
#   bash findings/azure-face-creates-twice.sh
#
# Installs the pinned packages into a temporary folder, and lets both clients create a person at a server that answers the first
# request with 504. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client azure-ai-vision-face==1.0.0b2 azure-core==1.41.0 azure-cognitiveservices-vision-face==0.6.1 msrest==0.7.1
cd "$work"
cat > try.py <<'PY'
import sys

from azure.ai.vision.face import FaceAdministrationClient
from azure.cognitiveservices.vision.face import FaceClient
from azure.core.credentials import AzureKeyCredential
from msrest.authentication import CognitiveServicesCredentials
from server import asked, serve


def requests(first: int, create) -> int:
    """How often a person is created at a server that answers the first request with a status."""
    asked.clear()
    port = serve(b'{"personId": "11111111-1111-1111-1111-111111111111"}', first=first)
    try:
        person = create(f"http://127.0.0.1:{port}")
        said = f"says that {person} was created"
    except Exception as error:
        said = f"raises {type(error).__name__}"
    print(f"{create.__name__} {first}: {len(asked)} times {asked[0][0]} {asked[0][1]}, and the client {said}")
    return len(asked)


def new(url: str, **options):
    client = FaceAdministrationClient(url, AzureKeyCredential("key"), **options)
    return client.large_person_group.create_person("staff", name="Ada")["personId"]


def new_without(url: str):
    return new(url, retry_total=0)


def old(url: str):
    return FaceClient(url, CognitiveServicesCredentials("key")).large_person_group_person.create("staff", "Ada").person_id


found = [requests(status, new) for status in (500, 503, 504)] + [requests(504, new_without), requests(504, old)]
sys.exit(found != [2, 2, 2, 1, 1])
PY
if client/bin/python -W ignore try.py; then as_described "a person is created twice"; else changed; fi

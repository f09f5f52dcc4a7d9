"""Names the people before a webcam with Azure Face's client, against a Recognizer: name, age, gender and emotion are drawn.

    pip install azure-cognitiveservices-vision-face==0.6.1 opencv-python
    RECOGNIZER_ATTRIBUTES=age,gender,expression python -m recognizer serve &
    python examples/azure_webcam.py photos/

PHOTOS has one folder per person with photos of that person. They become a person group, which is trained; then each picture
of the webcam (or of a clip, `--source clip.mp4`) is sent for detection and identification. With `--output film.mp4` the
pictures are written there; otherwise they are shown, until q is pressed.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
from azure.cognitiveservices.vision.face import FaceClient
from azure.cognitiveservices.vision.face.models import APIErrorException, TrainingStatusType
from msrest.authentication import CognitiveServicesCredentials

MODEL = "recognition_04"
ATTRIBUTES = ["age", "gender", "emotion"]
#: The service takes so many ids of faces at once.
MOST_IDENTIFIED = 10
#: An emotion is shown from this probability on.
LEAST_EMOTION = 0.5
PHOTOS = (".jpg", ".jpeg", ".png")


def make_group(client: FaceClient, group: str, folder: Path) -> dict[str, str]:
    """Make a person group of a folder of photos, and train it; the name of each person by id."""
    try:
        client.person_group.delete(group)  # of an earlier run
    except APIErrorException as error:
        if error.response.status_code != 404:
            raise
    client.person_group.create(group, name=folder.name, recognition_model=MODEL)
    people = {}
    for each in sorted(folder.iterdir()):
        photos = [file for file in sorted(each.iterdir()) if file.suffix.lower() in PHOTOS] if each.is_dir() else []
        if not photos:
            continue
        person = client.person_group_person.create(group, name=each.name).person_id
        people[person] = each.name
        for file in photos:
            try:
                with file.open("rb") as photo:
                    client.person_group_person.add_face_from_stream(group, person, photo)
            except APIErrorException as error:
                print(f"{file}: {error}", file=sys.stderr)
    client.person_group.train(group)
    while (status := client.person_group.get_training_status(group)).status is TrainingStatusType.running:
        time.sleep(0.5)
    if status.status is not TrainingStatusType.succeeded:
        raise SystemExit(f"the training failed: {status.message}")
    return people


def look(client: FaceClient, group: str, people: dict[str, str], picture) -> list[tuple]:
    """The faces of a picture: rectangle, name or None, and what is said about each."""
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    faces = client.face.detect_with_stream(
        io.BytesIO(jpeg), recognition_model=MODEL, return_face_attributes=ATTRIBUTES, face_id_time_to_live=60
    )
    names: dict[str, str | None] = {}
    for begin in range(0, len(faces), MOST_IDENTIFIED):
        ids = [each.face_id for each in faces[begin : begin + MOST_IDENTIFIED]]
        for found in client.face.identify(ids, person_group_id=group):
            names[found.face_id] = people.get(found.candidates[0].person_id) if found.candidates else None
    return [(each.face_rectangle, names[each.face_id], described(each.face_attributes)) for each in faces]


def described(attributes) -> list[str]:
    """What is said about a face; nothing about what the service left out."""
    words = []
    if attributes is not None and attributes.age is not None:
        words.append(f"about {attributes.age:.0f}")
    if attributes is not None and attributes.gender is not None:
        words.append(getattr(attributes.gender, "value", attributes.gender))
    if attributes is not None and attributes.emotion is not None:
        emotion, share = max(attributes.emotion.as_dict().items(), key=lambda each: each[1])
        if share >= LEAST_EMOTION:
            words.append(emotion)
    return words


def draw(picture, faces: list[tuple]) -> None:
    """Draw rectangles, names and what is said about each face."""
    for box, name, words in faces:
        colour = (80, 200, 80) if name else (60, 60, 220)
        cv2.rectangle(picture, (box.left, box.top), (box.left + box.width, box.top + box.height), colour, 2)
        for row, line in enumerate([name or "unknown", ", ".join(words)]):
            place = (box.left, box.top + box.height + 22 * (row + 1))
            cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2, cv2.LINE_AA)


def pictures(source: str) -> Iterator:
    """The pictures of a webcam or a clip."""
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not capture.isOpened():
        raise SystemExit(f"{source} cannot be opened")
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield picture
    finally:
        capture.release()


def main() -> None:
    """Make the group, then name who is seen."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("photos", type=Path, help="folder with one folder of photos per person")
    options.add_argument("--source", default="0", help="number of the webcam, or a clip")
    options.add_argument("--endpoint", default="http://localhost:8000/", help="address of the server")
    options.add_argument("--key", default="none", help="an API key, if the server has any")
    options.add_argument("--group", default="webcam", help="id of the person group, which is made anew")
    options.add_argument("--output", help="film to write, instead of a window")
    chosen = options.parse_args()
    client = FaceClient(chosen.endpoint, CognitiveServicesCredentials(chosen.key))
    people = make_group(client, chosen.group, chosen.photos)
    film = None
    for picture in pictures(chosen.source):
        faces = look(client, chosen.group, people, picture)
        print("; ".join(" ".join([name or "unknown", *words]) for _, name, words in faces) or "nobody", flush=True)
        draw(picture, faces)
        if chosen.output:
            if film is None:
                size = (picture.shape[1], picture.shape[0])
                film = cv2.VideoWriter(chosen.output, cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
            film.write(picture)
        else:
            cv2.imshow("Who is it?", picture)
            if cv2.waitKey(1) & 0xFF == ord("q"):
                break
    if film is not None:
        film.release()


if __name__ == "__main__":
    main()

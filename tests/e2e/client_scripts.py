"""What programs of other services' users do, with the clients that they use: run by `test_dialect_clients`, in its environment.

    python client_scripts.py CLIENT PORT FOLDER

FOLDER has the photos obama, obama2, biden, collins and nobody, as .jpg. What the client said is printed as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def deepstack_sdk(port: str, folder: Path) -> dict:
    from deepstack_sdk import Face, ServerConfig

    photo = {file.stem: str(file) for file in folder.glob("*.jpg")}
    face = Face(ServerConfig(f"http://127.0.0.1:{port}"))
    said: dict = {"registered": face.registerFace(images=[photo["nobody"], photo["obama"]], userid="Barack & Co")}
    try:
        face.registerFace(images=[photo["nobody"], photo["nobody"]], userid="Nobody")
        said["refused"] = ""
    except Exception as error:
        said["refused"] = str(error)
    said["known"] = [each.userid for each in face.recognizeFace(image=photo["obama2"])]
    said["stranger"] = [each.userid for each in face.recognizeFace(image=photo["collins"])]
    said["nobody"] = len(face.recognizeFace(image=photo["nobody"]))
    said["found"] = len(face.detectFace(image=photo["collins"]))
    said["list"] = list(face.listFaces())
    said["deleted"] = face.deleteFace("Barack & Co") and face.deleteFace("Barack & Co")
    said["left"] = list(face.listFaces())
    return said


def deepstack_python(port: str, folder: Path) -> dict:
    import deepstack.core as deepstack

    photo = {file.stem: file.read_bytes() for file in folder.glob("*.jpg")}
    face = deepstack.DeepstackFace(ip="127.0.0.1", port=int(port), api_key="what-a-user-had", timeout=60)
    said: dict = {"registered": [face.register("Ada", photo["collins"]), face.register("Ada", photo["collins"])]}
    said["known"] = deepstack.get_recognized_faces(face.recognize(photo["collins"]))
    said["stranger"] = deepstack.get_recognized_faces(face.recognize(photo["biden"]))
    said["nobody"] = face.recognize(photo["nobody"])
    said["found"] = len(face.detect(photo["biden"]))
    finder = deepstack.DeepstackObject(ip="127.0.0.1", port=int(port), timeout=60)
    said["objects"] = deepstack.get_objects(finder.detect(photo["biden"]))
    try:
        face.register("Nobody", photo["nobody"])
    except deepstack.DeepstackException as error:
        said["refused"] = str(error)
    return said


def codeproject_ai_api(port: str, folder: Path) -> dict:
    import codeprojectai.core as codeproject

    photo = {file.stem: file.read_bytes() for file in folder.glob("*.jpg")}
    face = codeproject.CodeProjectAIFace(ip="127.0.0.1", port=int(port), timeout=60)
    said: dict = {"registered": face.register("Ada", photo["collins"])}
    said["known"] = codeproject.get_recognized_faces(face.recognize(photo["collins"]))
    said["stranger"] = codeproject.get_recognized_faces(face.recognize(photo["biden"]))
    said["nobody"] = face.recognize(photo["nobody"])
    said["list"] = face.get_registered_faces()
    return said


def azure_cognitiveservices(port: str, folder: Path) -> dict:
    from azure.cognitiveservices.vision.face import FaceClient
    from azure.cognitiveservices.vision.face.models import APIErrorException, TrainingStatusType
    from msrest.authentication import CognitiveServicesCredentials

    def photo(name: str):
        return open(folder / f"{name}.jpg", "rb")

    def refused(call, *arguments) -> str:
        try:
            call(*arguments)
        except APIErrorException as error:
            return str(error)
        return ""

    client = FaceClient(f"http://127.0.0.1:{port}/", CognitiveServicesCredentials("what-a-user-had"))
    groups, people, faces = client.person_group, client.person_group_person, client.face
    groups.create("friends", name="My friends", user_data="of mine", recognition_model="recognition_04")
    said: dict = {"again": refused(groups.create, "friends", "x"), "group": groups.get("friends").as_dict()}
    person = people.create("friends", name="Barack & Co", user_data="president")
    said["untrained"] = refused(groups.get_training_status, "friends")
    face = people.add_face_from_stream("friends", person.person_id, photo("obama"), user_data="official")
    said["no_face"] = refused(people.add_face_from_stream, "friends", person.person_id, photo("nobody"))
    groups.train("friends")
    status = groups.get_training_status("friends")
    said["trained"] = status.status is TrainingStatusType.succeeded and status.last_action is not None
    said["person"] = people.get("friends", person.person_id).as_dict()
    said["face_known"] = said["person"]["persisted_face_ids"] == [face.persisted_face_id]

    def identified(name: str) -> list:
        found = faces.detect_with_stream(photo(name), recognition_model="recognition_04")
        if not found:
            return []
        answers = faces.identify([each.face_id for each in found], person_group_id="friends")
        return [people.get("friends", each.candidates[0].person_id).name if each.candidates else None for each in answers]

    said["names"] = {name: identified(name) for name in ("obama2", "collins", "nobody")}
    attributes = ["age", "gender", "emotion", "headPose", "blur", "exposure", "glasses", "qualityForRecognition"]
    (seen,) = faces.detect_with_stream(
        photo("obama2"), return_face_landmarks=True, return_face_attributes=attributes, return_recognition_model=True
    )
    said["seen"] = seen.as_dict()
    (other,) = faces.detect_with_stream(photo("biden"))
    said["verified"] = faces.verify_face_to_person(seen.face_id, person.person_id, person_group_id="friends").as_dict()
    said["other"] = faces.verify_face_to_face(seen.face_id, other.face_id).as_dict()
    client.face_list.create("seen", name="Seen")
    listed = client.face_list.add_face_from_stream("seen", photo("obama"), user_data="one")
    client.face_list.add_face_from_stream("seen", photo("biden"))
    found = faces.find_similar(seen.face_id, face_list_id="seen")
    said["similar"] = [each.persisted_face_id == listed.persisted_face_id for each in found]
    said["list"] = [each.user_data for each in client.face_list.get("seen").persisted_faces]
    (first,) = faces.detect_with_stream(photo("obama"))
    grouped = faces.group([seen.face_id, other.face_id, first.face_id])
    said["grouped"] = [[len(each) for each in grouped.groups], grouped.messy_group == [other.face_id]]
    people.update("friends", person.person_id, name="The President")
    said["renamed"] = [each.name for each in people.list("friends")]
    people.delete_face("friends", person.person_id, face.persisted_face_id)
    said["faceless"] = [each.persisted_face_ids for each in people.list("friends")]
    people.delete("friends", person.person_id)
    said["missing"] = refused(people.get, "friends", person.person_id)
    said["lists"] = [each.person_group_id for each in groups.list()]
    groups.delete("friends")
    client.face_list.delete("seen")
    said["left"] = [[each.person_group_id for each in groups.list()], client.face_list.list()]
    said["gone"] = refused(groups.get, "friends")
    return said


def azure_ai(port: str, folder: Path) -> dict:
    from azure.ai.vision.face import FaceAdministrationClient, FaceClient
    from azure.ai.vision.face.models import FaceDetectionModel, FaceRecognitionModel
    from azure.core.credentials import AzureKeyCredential
    from azure.core.exceptions import HttpResponseError

    photo = {file.stem: file.read_bytes() for file in folder.glob("*.jpg")}
    where = {"endpoint": f"http://127.0.0.1:{port}/", "credential": AzureKeyCredential("what-a-user-had")}
    faces, administration = FaceClient(**where), FaceAdministrationClient(**where)
    groups = administration.large_person_group
    models = {"recognition_model": FaceRecognitionModel.RECOGNITION04, "detection_model": FaceDetectionModel.DETECTION03}
    groups.create("friends", name="My friends", recognition_model=FaceRecognitionModel.RECOGNITION04)
    said: dict = {}
    try:
        groups.begin_train("friends", polling_interval=0.1).result()
        said["empty"] = ""
    except HttpResponseError as error:
        said["empty"] = str(error)
    person = groups.create_person("friends", name="Barack")
    groups.add_face("friends", person.person_id, photo["obama"], detection_model=FaceDetectionModel.DETECTION03)
    groups.begin_train("friends", polling_interval=0.1).result()
    said["status"] = groups.get_training_status("friends").status
    (seen,) = faces.detect(photo["obama2"], return_face_id=True, **models)
    (found,) = faces.identify_from_large_person_group(face_ids=[seen.face_id], large_person_group_id="friends")
    said["known"] = found.candidates[0].person_id == person.person_id and found.candidates[0].confidence > 0.8
    (stranger,) = faces.detect(photo["collins"], return_face_id=True, **models)
    (found,) = faces.identify_from_large_person_group(face_ids=[stranger.face_id], large_person_group_id="friends")
    said["stranger"] = [each.confidence for each in found.candidates]
    said["same"] = faces.verify_face_to_face(face_id1=seen.face_id, face_id2=stranger.face_id).is_identical
    try:
        groups.get("nothing")
    except HttpResponseError as error:
        said["missing"] = [error.status_code, error.error.code]
    groups.delete("friends")
    said["left"] = len(list(groups.get_large_person_groups()))
    return said


def compreface_sdk(port: str, folder: Path) -> dict:
    from compreface import CompreFace

    photo = {file.stem: str(file) for file in folder.glob("*.jpg")}
    service = CompreFace("http://127.0.0.1", port, {"limit": 0, "det_prob_threshold": 0.8, "status": "true"})
    key = "00000000-0000-0000-0000-000000000002"
    recognition, verification = service.init_face_recognition(key), service.init_face_verification(key)
    detection = service.init_face_detection(key)
    collection, subjects = recognition.get_face_collection(), recognition.get_subjects()

    def names(shown: dict) -> list:  # as Viseron reads it
        nearest = [each["subjects"][0] for each in shown["result"]]
        return [each["subject"] for each in nearest if each["similarity"] >= 0.5]

    said: dict = {"made": subjects.add("Empty"), "subjects": [subjects.list()]}
    added = collection.add(photo["obama"], "Barack Obama")
    said["added"] = added
    said["known"] = names(recognition.recognize(photo["obama2"]))
    said["stranger"] = names(recognition.recognize(photo["collins"], {"prediction_count": 3}))
    said["nobody"] = recognition.recognize(photo["nobody"])
    plugins = {"face_plugins": "landmarks,calculator,age,mask", "status": "true"}
    said["face"] = detection.detect(photo["collins"], plugins)["result"][0]
    said["same"] = verification.verify(photo["obama"], photo["obama2"])["result"][0]["face_matches"][0]["similarity"]
    said["other"] = verification.verify(photo["obama"], photo["biden"])["result"][0]["face_matches"][0]["similarity"]
    said["stored"] = collection.verify(photo["obama2"], added["image_id"])["result"][0]
    said["renamed"] = subjects.update("Barack Obama", "The President")
    said["list"] = collection.list()
    said["known_again"] = names(recognition.recognize(photo["obama2"]))
    said["slash"] = subjects.delete("A/B")
    said["refused"] = collection.add(photo["nobody"], "Nobody")
    said["deleted"] = [collection.delete(added["image_id"]), collection.delete(added["image_id"])]
    said["everybody"] = [subjects.delete_all(), subjects.list()]
    return said


def azure_ai_samples(port: str, folder: Path) -> dict:
    """The programs that the package carries, which are in the folder ``samples``; what each logged, in one text."""
    import logging
    import os

    sys.path.insert(0, str(folder / "samples"))
    from shared.constants import TestImages

    os.environ |= {"AZURE_FACE_API_ENDPOINT": f"http://127.0.0.1:{port}", "AZURE_FACE_API_ACCOUNT_KEY": "what-a-user-had"}
    TestImages.DEFAULT_IMAGE_URL = (folder / "url").read_text()  # instead of one on the Internet
    said: dict[str, str] = {}
    for module, made, methods in (
        ("sample_authentication", "FaceAuthentication", ["authentication_by_api_key"]),
        ("sample_face_detection", "DetectFaces", ["detect", "detect_from_url"]),
        ("sample_face_grouping", "GroupFaces", ["group"]),
        ("sample_stateless_face_verification", "StatelessFaceVerification", ["verify_face_to_face"]),
        (
            "sample_find_similar_faces",
            "FindSimilarFaces",
            ["find_similar_from_face_ids", "find_similar_from_large_face_list"],
        ),
        (
            "sample_verify_and_identify_from_large_person_group",
            "VerifyAndIdentifyFromLargePersonGroup",
            ["verify_and_identify_from_large_person_group"],
        ),
    ):
        program = getattr(__import__(module), made)()
        lines: list[str] = []
        program.logger.handlers = [logging.Handler()]
        program.logger.handlers[0].emit = lambda record, lines=lines: lines.append(record.getMessage())  # type: ignore[method-assign]
        for method in methods:
            lines.clear()
            getattr(program, method)()
            said[method] = "\n".join(lines)
    return said


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))

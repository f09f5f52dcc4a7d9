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


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))

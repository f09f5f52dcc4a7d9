"""How the clients of each dialect ask, as far as the contract of all dialects needs it."""

from __future__ import annotations

import base64

import numpy as np
import requests

from .serving import REPLY_SECONDS, Server


class Speaker:
    """One dialect.

    Attributes
    ----------
    name : str
    no_key, wrong_key, too_little : int
        The status of a refusal: no key, a wrong one, one whose role does not suffice.
    enrols : bool
        Whether its clients enrol people here; others keep what they know themselves.
    """

    name = ""
    no_key = wrong_key = 401
    too_little = 403
    enrols = True

    def send(self, server: Server, method: str, path: str, key: str | None = None, **how) -> requests.Response:
        """One request; every reply is looked through for what must not leave the server, and has a length."""
        reply = requests.request(method, server.url + path, timeout=REPLY_SECONDS, **self.with_key(key, how))
        server.check_leaks(str(reply.headers).encode() + reply.content)
        assert reply.headers["Content-Length"] == str(len(reply.content)) and "Transfer-Encoding" not in reply.headers
        assert reply.headers["Content-Type"] == "application/json"
        if reply.status_code >= 400:
            self.error(reply)
        return reply

    def with_key(self, key: str | None, how: dict) -> dict:
        return how if key is None else {**how, "headers": {**how.get("headers", {}), "x-api-key": key}}

    def recognize(self, server: Server, photo: bytes, key: str | None = None, **parameters: str) -> requests.Response:
        raise NotImplementedError

    def enrol(self, server: Server, name: str, photo: bytes, key: str | None = None) -> requests.Response:
        raise NotImplementedError

    def names(self, reply: requests.Response) -> list[str | None]:
        """Who is on the photo, from left to right."""
        raise NotImplementedError

    def error(self, reply: requests.Response) -> str:
        """The text of an error, of which the form is checked."""
        raise NotImplementedError

    def failed(self, reply: requests.Response) -> bool:
        return reply.status_code >= 400


class DeepStack(Speaker):
    name = "deepstack"
    root = "/v1/vision/face"

    def with_key(self, key: str | None, how: dict) -> dict:
        return how if key is None else {**how, "data": {**how.get("data", {}), "api_key": key}}

    def recognize(self, server, photo, key=None, **parameters):
        files = {"image": ("image", photo)}
        return self.send(
            server, "POST", f"{self.root}/recognize", key, files=files, data={"min_confidence": "0.45", **parameters}
        )

    def enrol(self, server, name, photo, key=None):
        files = {"image-of-any-name": ("x", photo)}
        return self.send(server, "POST", f"{self.root}/register", key, files=files, data={"userid": name})

    def names(self, reply):
        shown = reply.json()
        assert reply.status_code == 200 and shown["success"] is True, shown
        for face in shown["predictions"]:
            assert (face["confidence"] == 0) is (face["userid"] == "unknown"), face
        faces = sorted(shown["predictions"], key=lambda face: face["x_min"])
        return [None if face["userid"] == "unknown" else face["userid"] for face in faces]

    def error(self, reply):
        shown = reply.json()
        assert shown["success"] is False and shown["error"] and isinstance(shown["error"], str), shown
        return shown["error"]


class CodeProject(DeepStack):
    """Errors of a module have the status 200."""

    name = "codeproject"
    root = "/codeproject/v1/vision/face"

    def failed(self, reply):
        return reply.json()["success"] is False and reply.json()["code"] == 500


class CompreFace(Speaker):
    name = "compreface"
    no_key, wrong_key = 400, 404

    def recognize(self, server, photo, key=None, **parameters):
        how = {
            "files": {"file": ("photo.jpg", photo)},
            "params": {"det_prob_threshold": "0.8", "face_plugins": "undefined", **parameters},
        }
        return self.send(server, "POST", "/api/v1/recognition/recognize", key, **how)

    def enrol(self, server, name, photo, key=None):
        how = {"files": {"file": ("photo.jpg", photo)}, "params": {"subject": name}}
        return self.send(server, "POST", "/api/v1/recognition/faces", key, **how)

    def names(self, reply):
        if reply.status_code == 400 and reply.json()["code"] == 28:
            return []
        assert reply.status_code == 200, reply.text
        faces = sorted(reply.json()["result"], key=lambda face: face["box"]["x_min"])
        nearest = [face["subjects"][0] for face in faces]  # some clients do not look whether there is one
        return [each["subject"] if each["similarity"] >= 0.5 else None for each in nearest]

    def error(self, reply):
        shown = reply.json()
        assert set(shown) == {"message", "code"} and shown["message"] and isinstance(shown["code"], int), shown
        return shown["message"]


class Azure(Speaker):
    """Recognition takes two requests: detection, then identification in the group that is known_faces."""

    name = "azure"
    root = "/face/v1.0"

    def with_key(self, key, how):
        return how if key is None else {**how, "headers": {**how.get("headers", {}), "Ocp-Apim-Subscription-Key": key}}

    def photo(self, server, path, photo, key, **parameters):
        # the Python client sends photos chunked
        headers = {"Content-Type": "application/octet-stream"}
        data = iter([photo]) if photo else b""
        return self.send(server, "POST", self.root + path, key, data=data, params=parameters, headers=headers)

    def recognize(self, server, photo, key=None, **parameters):
        asked = {"returnFaceId": "true", "recognitionModel": "recognition_04", "faceIdTimeToLive": "60"}
        reply = self.photo(server, "/detect", photo, key, **asked, **{k: v for k, v in parameters.items() if v is not None})
        if reply.status_code != 200 or not reply.json():
            reply.detected = []
            return reply
        faces = reply.json()
        body = {"faceIds": [face["faceId"] for face in faces], "personGroupId": "default", "maxNumOfCandidatesReturned": 1}
        found = self.send(server, "POST", f"{self.root}/identify", key, json=body)
        people = self.send(server, "GET", f"{self.root}/persongroups/default/persons", key).json()
        found.detected = [face["faceRectangle"]["left"] for face in faces]
        found.people = {each["personId"]: each["name"] for each in people}
        return found

    def enrol(self, server, name, photo, key=None):
        persons = f"{self.root}/persongroups/default/persons"
        made = self.send(server, "POST", persons, key, json={"name": name})
        if made.status_code != 200:
            return made
        person = f"{persons}/{made.json()['personId']}"
        added = self.photo(server, person.removeprefix(self.root) + "/persistedfaces", photo, key)
        if added.status_code != 200:
            self.send(server, "DELETE", person, key)
        return added

    def names(self, reply):
        assert reply.status_code == 200, reply.text
        shown = sorted(zip(reply.detected, reply.json(), strict=True), key=lambda each: each[0]) if reply.detected else []
        return [reply.people[each["candidates"][0]["personId"]] if each["candidates"] else None for _, each in shown]

    def error(self, reply):
        shown = reply.json()
        assert set(shown) == {"error"} and set(shown["error"]) == {"code", "message"}, shown
        assert shown["error"]["code"] and shown["error"]["message"]
        return shown["error"]["message"]


class Nextcloud(Speaker):
    """The app keeps dlib's descriptors, and compares them itself."""

    name = "nextcloud"
    enrols = False
    #: The app's scale of sensitivity goes from 0.2 to 0.6.
    near = 0.5

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, np.ndarray]] = {}

    def recognize(self, server, photo, key=None, **parameters):
        how = {"files": {"file": ("photo.jpg", photo)}, "data": parameters}
        reply = self.send(server, "POST", "/nextcloud/detect", key, **how)
        reply.server = server
        return reply

    def names(self, reply):
        shown = reply.json()
        assert reply.status_code == 200 and shown["faces-count"] == len(shown["faces"]), shown
        known, found = self._known(reply), []
        for face in sorted(shown["faces"], key=lambda face: face["left"]):
            assert face["detection_confidence"] >= 0.99 and len(face["landmarks"]) == 5  # others are not looked at
            apart = {name: np.linalg.norm(kept - face["descriptor"]) for name, kept in known.items()}
            nearest = min(apart, key=apart.get)
            found.append(nearest if apart[nearest] < self.near else None)
        return found

    def _known(self, reply) -> dict[str, np.ndarray]:
        """The descriptors of the people whose photos the server has."""
        server, key = reply.server, reply.request.headers.get("x-api-key")
        if server.url not in self._kept:
            self._kept[server.url] = {
                file.parent.name: np.array(
                    self.send(server, "POST", "/nextcloud/detect", key, files={"file": file.read_bytes()}).json()["faces"][0][
                        "descriptor"
                    ]
                )
                for file in server.known_faces.glob("*/one.jpg")
            }
        return self._kept[server.url]

    def error(self, reply):
        shown = reply.json()
        assert set(shown) == {"error"} and shown["error"], shown
        return shown["error"]


class DeepFace(Speaker):
    """Photos as JSON; the key is a bearer token."""

    name = "deepface"

    def with_key(self, key, how):
        return how if key is None else {**how, "headers": {**how.get("headers", {}), "Authorization": f"Bearer {key}"}}

    def recognize(self, server, photo, key=None, **parameters):
        asked = {"model_name": "Facenet", "img": "data:image/jpeg;base64," + base64.b64encode(photo).decode(), **parameters}
        return self.send(server, "POST", "/deepface/search", key, json=asked)

    def enrol(self, server, name, photo, key=None):
        how = {"files": {"img": ("a.jpg", photo)}, "data": {"img_name": name}}
        return self.send(server, "POST", "/deepface/register", key, **how)

    def names(self, reply):
        if reply.status_code == 400 and "Face could not be detected" in reply.json()["error"]:
            return []
        assert reply.status_code == 200, reply.text
        for each in (each for face in reply.json()["results"] for each in face):
            assert each["distance"] <= each["threshold"] and each["confidence"] > 51, each
        return [face[0]["img_name"] if face else None for face in reply.json()["results"]]

    def error(self, reply):
        shown = reply.json()
        assert len(shown) == 1 and set(shown) <= {"error", "exception", "message"}, shown
        (text,) = shown.values()
        assert isinstance(text, str) and text
        return text


class DoubleTake(Speaker):
    """Names are in lower case."""

    name = "double-take"

    def recognize(self, server, photo, key=None, **parameters):
        how = {"files": {"files[]": ("a.jpg", photo)}, "params": {"results": "all", **parameters}}
        return self.send(server, "POST", "/api/recognize/upload", key, **how)

    def enrol(self, server, name, photo, key=None):
        path = f"/api/train/add/{requests.utils.quote(name, safe='')}"
        return self.send(server, "POST", path, key, files={"files[]": ("a.jpg", photo)})

    def names(self, reply):
        shown = reply.json()
        assert reply.status_code == 200 and shown["success"] is True, shown
        found = shown["matches"] + shown["unknowns"]
        assert all(each["match"] is (each["confidence"] >= 60) for each in found), found  # its own limit
        found.sort(key=lambda each: each["box"]["left"])
        return [each["name"].title() if each["match"] else None for each in found]

    def error(self, reply):
        shown = reply.json()
        assert set(shown) == {"error"} and shown["error"], shown
        return shown["error"]


SPEAKERS = (DeepStack(), CodeProject(), CompreFace(), Azure(), Nextcloud(), DeepFace(), DoubleTake())

"""Amazon's SDKs for Python and JavaScript against a real server with keys: collections, faces, users, and bad requests."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from . import pictures
from .client_packages import ran
from .serving import IN_FOLDER_AND_DATABASE, Server, lock


@pytest.fixture(scope="module")
def served(tmp_path_factory, faces, people_in):
    """A server that asks for signatures, and makes a client of boto3 for a role."""
    folder = tmp_path_factory.mktemp("rekognition")
    server = Server(folder, embedder="sface", dialects="rekognition", camera="none", **people_in)
    lock(server, "--signing")
    with server:
        assert server.enroll("Joe Biden", faces["biden"]).status_code == 201
        yield server


def client(server: Server, role: str, secret: str | None = None, place: str = "/rekognition", **how):
    key = server.keys[role]
    return boto3.client(
        "rekognition",
        endpoint_url=server.url + place,
        region_name="eu-central-1",
        aws_access_key_id=key.split("_")[1],
        aws_secret_access_key=key if secret is None else secret,
        config=Config(retries={"total_max_attempts": 1}, **how),
    )


def code(call, **given) -> str:
    """The code of the error that a call ends in."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    return caught.value.response["Error"]["Code"]


def image(data: bytes) -> dict:
    return {"Image": {"Bytes": data}}


@pytest.fixture
def staff(served, faces):
    """A collection with Obama and Collins; gone afterwards."""
    admin = client(served, "admin")
    admin.create_collection(CollectionId="staff")
    ids = {
        name: admin.index_faces(CollectionId="staff", ExternalImageId=name, **image(faces[name]))["FaceRecords"][0]["Face"][
            "FaceId"
        ]
        for name in ("obama", "collins")
    }
    yield admin, ids
    client(served, "admin").delete_collection(CollectionId="staff")  # the server may have another port now


@IN_FOLDER_AND_DATABASE
def test_collections_and_faces(served, staff, faces):
    admin, ids = staff
    assert set(admin.list_collections()["CollectionIds"]) == {"default", "staff"}
    first = admin.list_collections(MaxResults=1)
    assert len(first["CollectionIds"]) == 1
    assert len(admin.list_collections(NextToken=first["NextToken"])["CollectionIds"]) == 1
    about = admin.describe_collection(CollectionId="staff")
    assert (about["FaceCount"], about["UserCount"]) == (2, 0) and about["CreationTimestamp"].year >= 2026
    listed = admin.list_faces(CollectionId="staff")["Faces"]
    assert {each["FaceId"]: each["ExternalImageId"] for each in listed} == {id: name for name, id in ids.items()}
    assert all(0 < each["BoundingBox"]["Width"] < 1 and each["Confidence"] >= 80 for each in listed)
    found = admin.search_faces_by_image(CollectionId="staff", **image(faces["obama2"]))
    assert [each["Face"]["FaceId"] for each in found["FaceMatches"]] == [ids["obama"]]
    assert found["FaceMatches"][0]["Similarity"] >= 80 and found["SearchedFaceConfidence"] >= 80
    stranger = image(faces["biden"])  # who is known elsewhere
    assert admin.search_faces_by_image(CollectionId="staff", **stranger)["FaceMatches"] == []
    (known,) = admin.search_faces_by_image(CollectionId="default", **stranger)["FaceMatches"]
    assert known["Face"]["ExternalImageId"] == "Joe Biden" and known["Similarity"] == 100
    everybody = admin.search_faces_by_image(CollectionId="staff", FaceMatchThreshold=0, MaxFaces=1, **stranger)["FaceMatches"]
    assert len(everybody) == 1 and everybody[0]["Similarity"] < 36
    again = admin.index_faces(CollectionId="staff", ExternalImageId="obama", **image(faces["obama2"]))["FaceRecords"]
    second = again[0]["Face"]["FaceId"]
    near = admin.search_faces(CollectionId="staff", FaceId=ids["obama"])
    assert near["SearchedFaceId"] == ids["obama"] and [each["Face"]["FaceId"] for each in near["FaceMatches"]] == [second]
    # the same person under another name: collections may have that
    other = admin.index_faces(CollectionId="staff", ExternalImageId="obama3.jpg", **image(faces["obama3"]))["FaceRecords"]
    assert len(other) == 1 and len(admin.search_faces(CollectionId="staff", FaceId=second)["FaceMatches"]) == 2
    gone = admin.delete_faces(CollectionId="staff", FaceIds=[second, ids["collins"], "3f6d5a32-0000-0000-0000-000000000000"])
    assert set(gone["DeletedFaces"]) == {second, ids["collins"]} and len(gone["UnsuccessfulFaceDeletions"]) == 1
    assert admin.describe_collection(CollectionId="staff")["FaceCount"] == 2
    assert admin.search_faces_by_image(CollectionId="staff", **image(faces["collins"]))["FaceMatches"] == []


def test_a_photo_of_several_people(served, staff, faces):
    admin, _ = staff
    admin.create_collection(CollectionId="crowd")
    done = admin.index_faces(CollectionId="crowd", ExternalImageId="party", MaxFaces=2, **image(faces["trio"]))
    assert len(done["FaceRecords"]) == 2 and [each["Reasons"] for each in done["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]]
    records = [each["Face"] for each in done["FaceRecords"]]
    assert len({each["ImageId"] for each in records}) == 1 and {each["ExternalImageId"] for each in records} == {"party"}
    shown = admin.list_faces(CollectionId="crowd")["Faces"]
    assert sorted(shown, key=str) == sorted(records, key=str)
    unnamed = admin.index_faces(CollectionId="crowd", **image(faces["collins"]))["FaceRecords"][0]["Face"]
    assert "ExternalImageId" not in unnamed
    assert admin.index_faces(CollectionId="crowd", **image(faces["nobody"]))["FaceRecords"] == []
    assert served.get("/groups/crowd").json()["people"] == 3
    served.restart()
    after = client(served, "admin").list_faces(CollectionId="crowd", FaceIds=[unnamed["FaceId"]])["Faces"]
    assert after == [unnamed]
    client(served, "admin").delete_collection(CollectionId="crowd")


@IN_FOLDER_AND_DATABASE
def test_users(served, staff, faces):
    admin, ids = staff
    admin.create_user(CollectionId="staff", UserId="barack")
    admin.create_user(CollectionId="staff", UserId="eileen")
    assert code(admin.create_user, CollectionId="staff", UserId="barack") == "ConflictException"
    done = admin.associate_faces(CollectionId="staff", UserId="barack", FaceIds=[ids["obama"], "none"])
    assert [each["FaceId"] for each in done["AssociatedFaces"]] == [ids["obama"]] and done["UserStatus"] == "ACTIVE"
    assert done["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["FACE_NOT_FOUND"]
    unlike = admin.associate_faces(CollectionId="staff", UserId="barack", FaceIds=[ids["collins"]])
    assert unlike["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["LOW_MATCH_CONFIDENCE"]
    taken = admin.associate_faces(CollectionId="staff", UserId="eileen", FaceIds=[ids["obama"], ids["collins"]])
    assert taken["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["ASSOCIATED_TO_A_DIFFERENT_USER"]
    users = {each["UserId"]: each["UserStatus"] for each in admin.list_users(CollectionId="staff")["Users"]}
    assert users == {"barack": "ACTIVE", "eileen": "ACTIVE"}
    (face,) = admin.list_faces(CollectionId="staff", UserId="barack")["Faces"]
    assert (face["FaceId"], face["UserId"]) == (ids["obama"], "barack")
    found = admin.search_users_by_image(CollectionId="staff", **image(faces["obama2"]))
    assert [each["User"]["UserId"] for each in found["UserMatches"]] == ["barack"]
    assert admin.search_users(CollectionId="staff", FaceId=ids["collins"])["UserMatches"][0]["User"]["UserId"] == "eileen"
    assert admin.search_users(CollectionId="staff", UserId="barack")["UserMatches"] == []
    admin.disassociate_faces(CollectionId="staff", UserId="eileen", FaceIds=[ids["collins"]])
    admin.delete_user(CollectionId="staff", UserId="barack")
    assert code(admin.delete_user, CollectionId="staff", UserId="barack") == "ResourceNotFoundException"
    assert admin.list_users(CollectionId="staff")["Users"] == [{"UserId": "eileen", "UserStatus": "CREATED"}]
    assert not any("UserId" in each for each in admin.list_faces(CollectionId="staff")["Faces"])


def test_photos(served, faces):
    reader = client(served, "read")
    (face,) = reader.detect_faces(Attributes=["ALL"], **image(faces["biden"]))["FaceDetails"]
    named = {each["Type"]: each["X"] for each in face["Landmarks"]}
    assert set(named) == {"eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"} and named["eyeLeft"] < named["eyeRight"]
    assert set(face["Pose"]) == {"Roll", "Yaw", "Pitch"} and 0 < face["Quality"]["Sharpness"] <= 100 and "Gender" not in face
    compared = reader.compare_faces(SourceImage={"Bytes": faces["obama"]}, TargetImage={"Bytes": faces["trio"]})
    assert len(compared["FaceMatches"]) == 1 and len(compared["UnmatchedFaces"]) == 2
    assert compared["FaceMatches"][0]["Similarity"] >= 80
    labels = reader.detect_labels(MaxLabels=3, **image(faces["biden"]))["Labels"]
    assert labels[0]["Name"] == "Person" and labels[0]["Instances"][0]["Confidence"] >= 55
    assert reader.detect_faces(**image(faces["nobody"]))["FaceDetails"] == []


def test_what_goes_wrong(served, staff, faces):
    admin, _ = staff
    reader, writer = client(served, "read"), client(served, "write")
    with pytest.raises(reader.exceptions.ResourceNotFoundException):
        reader.describe_collection(CollectionId="nothing")
    with pytest.raises(admin.exceptions.ResourceAlreadyExistsException):
        admin.create_collection(CollectionId="staff")
    with pytest.raises(reader.exceptions.InvalidParameterException) as caught:
        reader.search_faces_by_image(CollectionId="staff", **image(faces["nobody"]))
    assert caught.value.response["Error"]["Message"] == "There are no faces in the image. Should be at least 1."
    assert code(reader.create_collection, CollectionId="mine") == "AccessDeniedException"
    assert code(writer.delete_collection, CollectionId="staff") == "AccessDeniedException"
    assert code(reader.detect_faces, **image(faces["obama"][:2000])) == "InvalidImageFormatException"
    assert code(reader.detect_faces, Image={"S3Object": {"Bucket": "bucket", "Name": "n.jpg"}}) == "InvalidS3ObjectException"
    assert code(reader.list_faces, CollectionId="staff", NextToken="x") == "InvalidPaginationTokenException"
    assert code(reader.search_faces, CollectionId="staff", FaceId="none") == "InvalidParameterException"
    assert (
        code(writer.index_faces, CollectionId="staff", ExternalImageId="a:b", **image(faces["biden"]))
        == "InvalidParameterException"
    )
    assert code(admin.create_collection, CollectionId="a b") == "InvalidParameterException"
    assert code(reader.recognize_celebrities, **image(faces["biden"])) == "UnknownOperationException"
    wrong = client(served, "admin", secret="wrong")
    assert code(wrong.list_collections) == "UnrecognizedClientException"
    assert code(client(served, "admin", signature_version=UNSIGNED).list_collections) == "MissingAuthenticationTokenException"
    id = served.keys["write"].split("_")[1]
    assert served.request("DELETE", f"/keys/{id}").status_code == 200
    assert code(writer.list_collections) == "UnrecognizedClientException"
    large = pictures.save(pictures.load(faces["obama"]).resize((40, 40)))
    assert reader.detect_faces(**image(large))["FaceDetails"] == []


@pytest.mark.network
@pytest.mark.slow
def test_the_sdk_for_javascript(served, node_clients, faces, tmp_path):
    for name in ("obama", "obama2", "biden", "collins", "nobody"):
        (tmp_path / f"{name}.jpg").write_bytes(faces[name])
    key = served.keys["admin"]
    script, secrets = Path(__file__).with_name("rekognition_js.mjs"), {"AWS_SECRET_ACCESS_KEY": key}
    said = ran("node", script, node_clients, served.port, folder=tmp_path, AWS_ACCESS_KEY_ID=key.split("_")[1], **secrets)
    assert said == {
        "made": 200,
        "again": ["ResourceAlreadyExistsException", 400],
        "nobody": ["InvalidParameterException", 400],
        "known": [["Barack", True]],
        "stranger": [],
        "similar": 1,
        "found": 1,
        "user": "ACTIVE",
        "users": ["barack"],
        "pages": ["Barack"],
        "deleted": 1,
        "left": 0,
        "forged": "UnrecognizedClientException",
    }


def test_at_the_root_beside_the_page(served, faces):
    served.restart(dialects="rekognition=/")
    reader = client(served, "read", place="")
    assert len(reader.detect_faces(**image(faces["trio"]))["FaceDetails"]) == 3
    assert code(reader.create_collection, CollectionId="staff") == "AccessDeniedException"
    unsigned = client(served, "read", place="", signature_version=UNSIGNED)
    assert code(unsigned.list_collections) == "MissingAuthenticationTokenException"
    page = requests.get(served.url, headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 200 and "<title>Recognizer" in page.text
    assert "/recognize" in requests.get(served.url, timeout=60).json()["handlers"]
    assert served.get("/people").status_code == 200 and served.get("/nothing").status_code == 404
    reply = requests.post(f"{served.url}/", data=b"{}", headers=served.always["headers"], timeout=60)
    assert (reply.status_code, reply.json()["__type"]) == (404, "UnknownOperationException")
    assert served.request("PUT", "/").status_code == 405  # in this server's own form
    assert served.post("/rekognition/", data=b"{}").status_code == 404

"""Notifications of a bucket: only the names of objects are used, and the named files are looked at, whatever else is said."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from recognizer.core.errors import SettingsError, StorageError
from recognizer.enrolment import bucket_notifications
from recognizer.enrolment.bucket_notifications import NamedObject, named_objects
from recognizer.enrolment.photo_store import FolderPhotos, open_store
from recognizer.service import bucket_queue, dropped_photos
from recognizer.service.bucket_queue import BucketQueue

from .streams import wait_for
from .test_dropped import drop, dropped, node, stored, waiting  # noqa: F401, fixtures

pytestmark = pytest.mark.network

#: As Amazon S3 sends it to SQS.
S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "eu-west-1",
            "eventTime": "2026-11-30T08:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "192.0.2.3"},
            "responseElements": {"x-amz-request-id": "D82B88E5F771F645", "x-amz-id-2": "vlR7"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "people",
                "bucket": {"name": "faces", "ownerIdentity": {"principalId": "A3NL1"}, "arn": "arn:aws:s3:::faces"},
                "object": {"key": "some/prefix/people/Ann+L/%C3%A4%2B1.jpg", "size": 5, "eTag": "d41d", "sequencer": "0055"},
            },
        }
    ]
}
#: As MinIO posts it to a webhook: every slash of the key is encoded as well.
MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "faces/some/prefix/people/Ann L/ä+1.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2026-11-30T08:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "uploader"},
            "requestParameters": {"principalId": "uploader", "region": "", "sourceIPAddress": "192.0.2.3"},
            "responseElements": {"x-amz-request-id": "17A", "x-minio-origin-endpoint": "http://192.0.2.1:9000"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": "faces", "ownerIdentity": {"principalId": "uploader"}, "arn": "arn:aws:s3:::faces"},
                "object": {
                    "key": "some%2Fprefix%2Fpeople%2FAnn+L%2F%C3%A4%2B1.jpg",
                    "size": 5,
                    "eTag": "d41d",
                    "contentType": "image/jpeg",
                    "userMetadata": {"content-type": "image/jpeg"},
                    "sequencer": "17A",
                },
            },
            "source": {"host": "192.0.2.3", "port": "", "userAgent": "MinIO (linux; amd64)"},
        }
    ],
}
#: As EventBridge sends it: the key is not encoded.
BRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-11-30T08:00:00Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:s3:::faces"],
    "detail": {
        "version": "0",
        "bucket": {"name": "faces"},
        "object": {"key": "some/prefix/people/Ann L/ä+1.jpg", "size": 5, "etag": "d41d", "sequencer": "617f"},
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "192.0.2.3",
        "reason": "PutObject",
    },
}
SNS = {"Type": "Notification", "MessageId": "22b80b92", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(S3)}
ANN = NamedObject("faces", "some/prefix/people/Ann L/ä+1.jpg")


@pytest.mark.parametrize("given", [S3, MINIO, BRIDGE, SNS], ids=["s3", "minio", "eventbridge", "sns"])
def test_what_buckets_send(given):
    assert named_objects(given) == [ANN]


def test_what_leaves_no_object_names_none():
    removed = json.loads(json.dumps(S3).replace("ObjectCreated:Put", "ObjectRemoved:Delete"))
    assert named_objects(removed) == named_objects({**BRIDGE, "detail-type": "Object Deleted"}) == []
    assert named_objects({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "faces"}) == []
    assert named_objects({"Records": S3["Records"] * 2 + MINIO["Records"]}) == [ANN]  # each once


def record(**changes) -> dict:
    about = {"bucket": {"name": "faces"}, "object": {"key": "x"}, **changes}
    return {"Records": [{"eventName": "ObjectCreated:Put", "s3": about}]}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Records": "x"},
        {"Records": [1]},
        {"Records": [{}]},
        {"Records": [{"eventName": 5, "s3": record()["Records"][0]["s3"]}]},
        record(bucket=None),
        record(bucket={"name": ""}),
        record(object={"key": 5}),
        record(object={"key": "x" * 1025}),
        record(object={"key": "a%00b"}),
        record(object={"key": "people/Joe/\ud800.jpg"}),
        record(bucket={"name": "\ud800"}),
        {**SNS, "Message": "[" * 100_000},
        {**BRIDGE, "detail": []},
        {**BRIDGE, "source": "aws.ec2"},
        {**SNS, "Message": "text"},
        {**SNS, "Message": json.dumps(SNS)},
        {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://example.org/"},
    ],
)
def test_what_is_no_notification_is_refused(given):
    with pytest.raises(ValueError):
        named_objects(given)


def test_the_number_of_objects_is_limited(monkeypatch):
    monkeypatch.setattr(bucket_notifications, "MOST_OBJECTS", 1)
    with pytest.raises(ValueError, match="at most 1 records"):
        named_objects({"Records": S3["Records"] * 2})


def test_only_files_below_people_of_this_bucket_are_meant(bucket, tmp_path):
    store = open_store(bucket)
    assert store.dropped_path(ANN) == "Ann L/ä+1.jpg"
    for name, key in (
        ("other", ANN.key),
        ("faces", "some/prefix/people"),
        ("faces", "some/prefix/people/"),
        ("faces", "some/prefix/ab/photo"),
        ("faces", "people/Ann/1.jpg"),
        ("faces", "some/prefix/people/../ab/photo"),
        ("faces", "some/prefix/people//etc/passwd"),
        ("faces", "some/prefix/people/./x"),
    ):
        assert store.dropped_path(NamedObject(name, key)) is None, key
    assert FolderPhotos(tmp_path).dropped_path(ANN) is None


def test_named_files_are_looked_at_and_no_others(node, stored, tmp_path, monkeypatch):  # noqa: F811
    tried: list = []
    looker = dropped(node, stored, tried)
    for name in ("Ann/1.jpg", "Ann/2.jpg", "Bob/none.jpg"):
        drop(stored, name, b"none" if "none" in name else name.encode())
    assert looker.look_at(["Ann/2.jpg", "Ann/gone.jpg"]) == 1
    assert [photo for _, photo, _ in tried] == [b"Ann/2.jpg"] and waiting(stored) == ["Ann/1.jpg", "Bob/none.jpg"]
    assert looker.look_at(["Bob/none.jpg"]) == 0 and looker.look_at(["Bob/none.jpg"]) == 0
    assert len(tried) == 2  # what cannot be used is not tried again
    (stored / "people/Bob/none.jpg").unlink()
    looker.look_at(["Bob/none.jpg"])
    assert node.database.rows("select count(*) from dropped") == [(0,)]


def test_who_has_looked_keeps_nobody_from_looking_next(node, stored, monkeypatch):  # noqa: F811
    looker, connect, opened = dropped(node, stored, []), node.database.connect, []

    @contextmanager
    def ends_late():
        opened.append(connect())
        yield opened[-1]

    monkeypatch.setattr(node.database, "connect", ends_late)
    try:
        for _ in range(2):
            with looker._alone() as alone:
                assert alone
    finally:
        for connection in opened:
            connection.close()


@pytest.mark.slow
def test_a_named_file_is_enrolled_long_before_the_next_look_at_everything(node, stored, monkeypatch):  # noqa: F811
    tried: list = []
    looker = dropped(node, stored, tried)
    monkeypatch.setattr(looker._store, "dropped_path", lambda object: object.key, raising=False)
    monkeypatch.setattr(dropped_photos, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(looker, "_seconds", 3600.0)
    looks: list = []
    everything = looker.look
    monkeypatch.setattr(looker, "look", lambda: (everything(), looks.append(1)))
    looker.start()
    try:
        wait_for(lambda: looks)  # and nobody looks any more
        drop(stored, "Ann/1.jpg", b"one")
        with looker._alone() as alone:  # another node looks
            assert alone
            assert looker.wake([NamedObject("faces", "Ann/1.jpg"), NamedObject("faces", "nobody.jpg")]) == 1
            time.sleep(0.05)
            assert not tried
        wait_for(lambda: waiting(stored) == [])
        assert len(tried) == 1 and looks == [1]
        wait_for(lambda: not looker._named)
    finally:
        looker.close()


def test_one_file_that_cannot_be_looked_at_keeps_no_other_waiting(node, stored, monkeypatch):  # noqa: F811
    looker, find, gone = dropped(node, stored, []), FolderPhotos.find_dropped, []

    def found(store, path: str):
        if "bad" in path:
            raise StorageError("the bucket does not answer")
        return find(store, path)

    monkeypatch.setattr(FolderPhotos, "find_dropped", found)
    monkeypatch.setattr(looker, "_forget", gone.extend)
    drop(stored, "Ann/1.jpg", b"one")
    looker._named = dict.fromkeys(["Ann/bad.jpg", "Ann/1.jpg"])
    assert looker._look_at_named() == 1 and not looker._named and gone == ["Ann/1.jpg"]


def test_named_files_are_looked_at_in_parts_between_which_other_nodes_may_look(node, stored, monkeypatch):  # noqa: F811
    looker, parts = dropped(node, stored, []), []
    monkeypatch.setattr(dropped_photos, "_AT_ONCE", 2)
    looker._named = dict.fromkeys(["a", "b", "c"])
    monkeypatch.setattr(looker, "look_at", lambda paths: parts.append(paths))  # another node looks
    assert looker._look_at_named() is None and list(looker._named) == ["a", "b", "c"]
    monkeypatch.setattr(looker, "look_at", lambda paths: parts.append(paths) or 0)
    assert looker._look_at_named() == looker._look_at_named() == 0 and not looker._named
    assert parts == [["a", "b"], ["a", "b"], ["c"]]
    looker._named = dict.fromkeys(["a"])
    monkeypatch.setattr(looker, "look_at", lambda paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        looker._look_at_named()
    assert not looker._named  # what cannot be done is not tried for ever


def test_no_more_files_wait_than_may(node, stored, monkeypatch):  # noqa: F811
    monkeypatch.setattr(dropped_photos, "MOST_NAMED", 2)
    looker = dropped(node, stored, [])
    monkeypatch.setattr(looker._store, "dropped_path", lambda object: object.key, raising=False)
    assert looker.wake(NamedObject("faces", f"Ann/{number}.jpg") for number in range(5)) == 5
    assert list(looker._named) == ["Ann/0.jpg", "Ann/1.jpg"]


# --- a queue ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(bucket):
    """A queue of SQS that really gets the notifications of the bucket; its URL."""
    import boto3

    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    url = sqs.create_queue(QueueName="dropped")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "some/prefix/people/"}]}}
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}]}
    s3.put_bucket_notification_configuration(Bucket="faces", NotificationConfiguration=configuration)
    yield SimpleNamespace(url=url, sqs=sqs, s3=s3)
    s3.put_bucket_notification_configuration(Bucket="faces", NotificationConfiguration={})
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.slow
def test_a_real_queue_wakes_the_look_and_is_emptied(queue, bucket, monkeypatch, caplog):
    monkeypatch.setattr(bucket_queue, "WAIT_SECONDS", 1)
    woken: list = []
    reader = BucketQueue(queue.url, woken.extend)
    queue.s3.put_object(Bucket="faces", Key=ANN.key, Body=b"first")
    queue.s3.put_object(Bucket="faces", Key="some/prefix/ab/photo", Body=b"not dropped")
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="no notification")
    reader.start()
    try:
        wait_for(lambda: woken)
        queue.s3.put_object(Bucket="faces", Key="some/prefix/people/Bob/1.jpg", Body=b"second")
        wait_for(lambda: len(woken) == 2)
    finally:
        reader.close()
    assert woken == [ANN, NamedObject("faces", "some/prefix/people/Bob/1.jpg")]
    assert [open_store(bucket).dropped_path(each) for each in woken] == ["Ann L/ä+1.jpg", "Bob/1.jpg"]
    assert "is none, and stays there" in caplog.text
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    wait_for(
        lambda: (
            sum(map(int, queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=counts)["Attributes"].values())) == 1
        )
    )


@pytest.mark.slow
def test_a_queue_that_cannot_be_read_is_tried_again(queue, monkeypatch, caplog):
    monkeypatch.setattr(bucket_queue, "WAIT_SECONDS", 1)
    monkeypatch.setattr(bucket_queue, "backoff", lambda *given: 0.01)
    woken: list = []
    reader = BucketQueue(queue.url, woken.extend)
    queue.sqs.delete_queue(QueueUrl=queue.url)
    reader.start()
    try:
        wait_for(lambda: "cannot be read" in caplog.text)
        queue.sqs.create_queue(QueueName="dropped")
        queue.s3.put_object(Bucket="faces", Key=ANN.key, Body=b"first")
        wait_for(lambda: woken)
    finally:
        reader.close()


def test_without_the_packages_there_is_a_sentence(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SettingsError, match="requirements-postgres"):
        BucketQueue("https://sqs.eu-west-1.amazonaws.com/1/dropped", print)

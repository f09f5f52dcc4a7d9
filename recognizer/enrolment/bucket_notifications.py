"""What the notifications of a bucket name: objects that were put into it. Nothing else in them is used, or believed.

Three forms are known: that of Amazon S3, which MinIO, Ceph and others send too; the same in a message of Amazon SNS; and that
of Amazon EventBridge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from recognizer.core.outside_json import parse_outside

#: Objects that one notification may name; a bucket's have one.
MOST_OBJECTS = 1000
#: How the names of the events begin that may leave an object.
_CREATED = ("ObjectCreated:", "ObjectRestore:")
#: Size of the largest message, in bytes: that of Amazon SQS.
MOST_BYTES = 1 << 20
_LONGEST_KEY = 1024  # bytes, of S3
_LONGEST_BUCKET = 255


@dataclass(frozen=True, slots=True)
class NamedObject:
    """An object of a bucket.

    Attributes
    ----------
    bucket, key : str
        The key as it is, not percent-encoded.
    """

    bucket: str
    key: str


def named_objects(message: Mapping[str, Any]) -> list[NamedObject]:
    """The objects that a notification says were put into a bucket, each once; none for a test or a removal.

    Raises
    ------
    ValueError
        It is not a notification of a bucket.
    """
    if isinstance(message.get("Records"), list):
        records = message["Records"]
        if len(records) > MOST_OBJECTS:
            raise ValueError(f"expected at most {MOST_OBJECTS} records, got {len(records)}")
        found = [_of_record(each) for each in records]
    elif message.get("source") == "aws.s3" and "detail" in message:
        found = [_of_event(message)]
    elif message.get("Type") == "Notification" and isinstance(message.get("Message"), str):
        inner = parse_outside(message["Message"].encode(), MOST_BYTES)
        if not isinstance(inner, dict) or "Type" in inner:
            raise ValueError("expected a notification of a bucket in the message of SNS")
        return named_objects(inner)
    elif message.get("Event") == "s3:TestEvent":
        return []
    else:
        raise ValueError("expected a notification of a bucket: of S3 (with Records), SNS or EventBridge")
    return list(dict.fromkeys(each for each in found if each is not None))


def _of_record(record: Any) -> NamedObject | None:
    try:
        event, about = record["eventName"], record["s3"]
        bucket, key = about["bucket"]["name"], about["object"]["key"]
    except (TypeError, KeyError):
        raise ValueError("Records: expected an eventName, and in s3 the names of a bucket and an object") from None
    if not isinstance(event, str):
        raise ValueError("eventName: expected text")
    if not event.removeprefix("s3:").startswith(_CREATED):
        return None
    return _named(bucket, unquote_plus(key) if isinstance(key, str) else key)


def _of_event(message: Mapping[str, Any]) -> NamedObject | None:
    """EventBridge does not encode keys."""
    if message.get("detail-type") not in ("Object Created", "Object Restore Completed"):
        return None
    try:
        about = message["detail"]
        bucket, key = about["bucket"]["name"], about["object"]["key"]
    except (TypeError, KeyError):
        raise ValueError("detail: expected the names of a bucket and an object") from None
    return _named(bucket, key)


def _named(bucket: Any, key: Any) -> NamedObject:
    if not isinstance(bucket, str) or not isinstance(key, str) or not 0 < len(bucket) <= _LONGEST_BUCKET:
        raise ValueError("expected the names of a bucket and an object as text")
    try:
        length = len(key.encode())
        bucket.encode()
    except UnicodeEncodeError:
        raise ValueError("expected the names of a bucket and an object without halves of characters") from None
    if not 0 < length <= _LONGEST_KEY or "\0" in key:
        raise ValueError(f"expected the name of an object with at most {_LONGEST_KEY} bytes")
    return NamedObject(bucket, key)

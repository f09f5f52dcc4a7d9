"""The tree of errors: complete in its docstring, one code per class, one status per class."""

import inspect
import re

import pytest

from recognizer.core import errors
from recognizer.core.errors import RecognizerError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, RecognizerError) and kind.__module__ == errors.__name__
]
NAMES = [kind.__name__ for kind in KINDS]

#: What every error is answered with. The service's contract with its callers: change it here and in the documentation.
STATUSES = {
    400: {
        "BadRequest",
        "InvalidParameter",
        "InvalidName",
        "InvalidGroup",
        "InvalidUrl",
        "InvalidSource",
        "NoImage",
        "AttributesOff",
        "AddressRefused",
    },
    401: {"KeyRequired", "InvalidKey", "KeyExpired"},
    403: {"AccessError", "RoleRequired", "LoopbackOnly", "HostRefused", "OriginRefused", "CsrfRefused"},
    404: {
        "UnknownRoute",
        "NotFound",
        "GroupNotFound",
        "SubjectNotFound",
        "PhotoNotFound",
        "KeyNotFound",
        "BinItemNotFound",
        "CameraNotFound",
        "EventNotFound",
        "EventsOff",
        "StrangerNotFound",
        "PictureNotFound",
        "StrangersOff",
        "SightingsOff",
        "FolderNotFound",
        "ArchiveGroupNotFound",
        "JobNotFound",
        "RuleNotFound",
        "SubscriptionNotFound",
        "ReceiverNotFound",
    },
    405: {"MethodNotAllowed"},
    409: {
        "Conflict",
        "NameTaken",
        "GroupTaken",
        "GroupFixed",
        "LooksLikeAnother",
        "BinOff",
        "CameraFixed",
        "FolderInArchive",
        "NothingToUndo",
        "SettingFixed",
        "TooManyCameras",
        "TooManyJobs",
        "TooManyRules",
        "TooManySubscriptions",
        "ActionOff",
        "InUse",
        "NotEmpty",
    },
    413: {"BodyTooLarge", "ImageTooLarge", "FetchTooLarge"},
    415: {"UnsupportedImage"},
    422: {
        "ImageError",
        "BrokenImage",
        "BrokenVideo",
        "UnreadableImage",
        "DecoderError",
        "DecoderCrashed",
        "DecoderTooSlow",
        "FaceError",
        "NoFace",
        "SeveralFaces",
        "FaceTooSmall",
        "PoorPhoto",
    },
    429: {"RateLimited"},
    500: {
        "RecognizerError",
        "EngineMismatch",
        "SettingsError",
        "ExifToolMissing",
        "KeyMissing",
        "SealBroken",
        "AuditBroken",
        "BackupBroken",
    },
    502: {"FetchError", "FetchFailed", "ActionFailed"},
    503: {
        "Busy",
        "Starting",
        "DecoderUnavailable",
        "CameraElsewhere",
        "CameraUnavailable",
        "DatabaseAway",
        "NotCaughtUp",
        "ModelError",
        "ModelMissing",
        "ModelCorrupt",
        "DamageRepaired",
    },
    504: {"FetchTimeout"},
    507: {"StorageError"},
}


def tree_in_docstring() -> dict[str, str | None]:
    """Class -> parent, as drawn in the module's docstring."""
    parents, path = {"RecognizerError": None}, ["RecognizerError"]
    for line in inspect.getdoc(errors).splitlines():
        found = re.match(r"^ {4}((?:│   |    )*)[├└]── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            parents[found[2]] = path[depth - 1]
            path = [*path[:depth], found[2]]
    return parents


def test_the_docstring_draws_the_tree_as_it_is():
    drawn = tree_in_docstring()
    real = {kind.__name__: None if kind is RecognizerError else kind.__bases__[0].__name__ for kind in KINDS}
    assert drawn == real


def test_every_code_is_its_own_and_says_what_the_class_says():
    codes = [vars(kind).get("code") for kind in KINDS if kind is not RecognizerError]
    assert len(set(codes)) == len(codes)
    for kind in KINDS:
        if kind is not RecognizerError:
            assert kind.code in re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_an_error_carries_its_message_and_details(kind):
    assert (kind("").message, kind("").details) == ("", {})
    error = kind("expected 1, got 2", got=2)
    assert str(error) == error.message == "expected 1, got 2"
    assert error.details == {"got": 2}


def test_only_what_passes_by_itself_says_when_to_try_again():
    passing = {kind.__name__ for kind in KINDS if kind("x").retry_after}
    assert passing == {
        "DecoderUnavailable",
        "Busy",
        "CameraElsewhere",
        "CameraUnavailable",
        "DamageRepaired",
        "DatabaseAway",
        "NotCaughtUp",
        "RateLimited",
        "Starting",
    }
    assert errors.RateLimited("x", 7.5).retry_after == 7.5


def test_every_class_has_its_status():
    from recognizer.http.statuses import status_of

    found = {}
    for kind in KINDS:
        found.setdefault(status_of(kind("x")), set()).add(kind.__name__)
    assert found == STATUSES


def test_a_class_that_is_not_named_has_its_ancestors_status():
    from recognizer.http.statuses import status_of

    class New(errors.NameTaken):
        code = "new"

    assert status_of(New("x")) == 409

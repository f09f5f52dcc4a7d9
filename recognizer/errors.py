"""Every error this package raises on purpose, as one tree.

::

    RecognizerError
    ├── BadRequest                  the caller can mend it by asking differently
    │   ├── InvalidParameter        a parameter's value cannot be used
    │   ├── InvalidName             a subject's name cannot be used
    │   ├── InvalidUrl              not an http(s) URL that can be fetched
    │   ├── InvalidSource           nothing that a camera's frames can come from
    │   ├── NoImage                 no photo was given, or more than one way at once
    │   ├── BodyTooLarge            a request's body is larger than the cap
    │   ├── UnknownRoute            there is no such page
    │   └── MethodNotAllowed        there is, but not for this method
    ├── ImageError                  the bytes given as a photo
    │   ├── UnsupportedImage        not an image, or of a format that is not read
    │   ├── BrokenImage             an image whose data is damaged or cut short
    │   ├── UnreadableImage         a file that could not be read
    │   ├── ImageTooLarge           more bytes or pixels than the caps allow
    │   └── DecoderError            what reads the format gave up; another try may end otherwise
    │       ├── DecoderCrashed      it crashed over the photo
    │       ├── DecoderTooSlow      it took too long over the photo
    │       └── DecoderUnavailable  it could not be started
    ├── FaceError                   a photo that does not serve its purpose
    │   ├── NoFace                  no face was found
    │   ├── SeveralFaces            one face was wanted, more were found
    │   ├── FaceTooSmall            the only face is below the smallest usable size
    │   └── PoorPhoto               the face is too blurred or dark to be told from others
    ├── FetchError                  a URL that could not be turned into bytes
    │   ├── AddressRefused          it leads to an address that is not allowed
    │   ├── FetchTooLarge           more bytes than the cap allows
    │   ├── FetchFailed             the other side failed or refused
    │   └── FetchTimeout            the other side took too long
    ├── AccessError                 who asks, or from where, is not let in
    │   ├── KeyRequired             no key was shown where one is needed
    │   ├── InvalidKey              the key that was shown is none of this server's
    │   ├── KeyExpired              the key that was shown has run out
    │   ├── RoleRequired            the key's role does not reach this far
    │   ├── LoopbackOnly            while there are no keys, only this machine is served
    │   ├── HostRefused             the Host header names another server
    │   ├── OriginRefused           a page of another site sent the request
    │   └── CsrfRefused             a session was used without the token of its page
    ├── RateLimited                 too many requests of one key or from one address
    ├── NotFound
    │   ├── SubjectNotFound         nobody of that name is enrolled
    │   ├── PhotoNotFound           that subject has no such photo
    │   ├── KeyNotFound             there is no key with that id
    │   ├── EventNotFound           there is no such event, or no picture of it
    │   ├── EventsOff               the settings say that no events are kept
    │   ├── StrangerNotFound        there is no such stranger, or no longer
    │   ├── PictureNotFound         that stranger has no such picture
    │   ├── StrangersOff            the settings say that no strangers are kept
    │   └── CameraNotFound          there is no camera of that id
    ├── Conflict
    │   ├── NameTaken               another subject or camera has that name, or one like it
    │   ├── LooksLikeAnother        the photo looks like another enrolled subject
    │   ├── CameraFixed             the camera is set by a setting, not over the API
    │   ├── InUse                   something else is using what has to be left alone for this
    │   ├── NotEmpty                a backup is to be restored where something is kept already
    │   ├── SettingFixed            the setting is said elsewhere, where it can be changed
    │   └── TooManyCameras          one has to be removed before another is added
    ├── CameraUnavailable           a camera gives no picture now
    ├── Busy                        the queue is full; try again shortly
    │   └── Starting                nothing can be answered before everything is loaded
    ├── StorageError                the disk refused a write or a read
    │   ├── SealBroken              encrypted data was changed
    │   ├── AuditBroken             the audit log was changed
    │   └── BackupBroken            the file is no backup, or was damaged
    ├── ModelError
    │   ├── ModelMissing            weights are not there and could not be fetched
    │   └── ModelCorrupt            weights do not have the hash that is trusted
    ├── EngineMismatch              templates of different engines were compared
    └── SettingsError               a setting has a value that cannot be used
        └── KeyMissing              what is kept is encrypted with a key that is not there

``code`` is a stable, machine-readable name; ``details`` are plain data that a reply may carry. Messages are
written for the person who asked: they never hold a path of the server, a secret or a traceback.
"""

from __future__ import annotations


class RecognizerError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        What went wrong, for the person who asked: what was expected, what was there.
    **details
        Plain data (str, numbers, lists, dicts) that a reply may carry beside the message.

    Attributes
    ----------
    code : str
        Stable machine-readable name of the error, one per class.
    retry_after : float or None
        Seconds after which the same call may succeed.
    """

    code = "error"
    retry_after: float | None = None

    def __init__(self, message: str, **details):
        super().__init__(message)
        self.message = message
        self.details = details


class BadRequest(RecognizerError):
    code = "bad_request"


class InvalidParameter(BadRequest):
    code = "invalid_parameter"


class InvalidName(BadRequest):
    code = "invalid_name"


class InvalidUrl(BadRequest):
    code = "invalid_url"


class InvalidSource(BadRequest):
    code = "invalid_source"


class NoImage(BadRequest):
    code = "no_image"


class BodyTooLarge(BadRequest):
    code = "body_too_large"


class UnknownRoute(BadRequest):
    code = "unknown_route"


class MethodNotAllowed(BadRequest):
    code = "method_not_allowed"


class ImageError(RecognizerError):
    code = "image_error"


class UnsupportedImage(ImageError):
    code = "unsupported_image"


class BrokenImage(ImageError):
    code = "broken_image"


class UnreadableImage(ImageError):
    code = "unreadable"


class ImageTooLarge(ImageError):
    code = "image_too_large"


class DecoderError(ImageError):
    code = "decoder_error"


class DecoderCrashed(DecoderError):
    code = "decoder_crashed"


class DecoderTooSlow(DecoderError):
    code = "decoder_too_slow"


class DecoderUnavailable(DecoderError):
    code = "decoder_unavailable"
    retry_after = 1.0


class FaceError(RecognizerError):
    code = "face_error"


class NoFace(FaceError):
    code = "no_face"


class SeveralFaces(FaceError):
    code = "several_faces"


class FaceTooSmall(FaceError):
    code = "face_too_small"


class PoorPhoto(FaceError):
    code = "poor_photo"


class FetchError(RecognizerError):
    code = "fetch_error"


class AddressRefused(FetchError):
    code = "address_refused"


class FetchTooLarge(FetchError):
    code = "fetch_too_large"


class FetchFailed(FetchError):
    code = "fetch_failed"


class FetchTimeout(FetchError):
    code = "fetch_timeout"


class AccessError(RecognizerError):
    code = "access_error"


class KeyRequired(AccessError):
    code = "key_required"


class InvalidKey(AccessError):
    code = "invalid_key"


class KeyExpired(AccessError):
    code = "key_expired"


class RoleRequired(AccessError):
    code = "role_required"


class LoopbackOnly(AccessError):
    code = "loopback_only"


class HostRefused(AccessError):
    code = "host_refused"


class OriginRefused(AccessError):
    code = "origin_refused"


class CsrfRefused(AccessError):
    code = "csrf_refused"


class RateLimited(RecognizerError):
    """Too many requests; `retry_after` says in how many seconds there is room again."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after: float = 60.0, **details):
        super().__init__(message, **details)
        self.retry_after = retry_after


class NotFound(RecognizerError):
    code = "not_found"


class SubjectNotFound(NotFound):
    code = "subject_not_found"


class PhotoNotFound(NotFound):
    code = "photo_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class EventNotFound(NotFound):
    code = "event_not_found"


class EventsOff(NotFound):
    code = "events_off"


class StrangerNotFound(NotFound):
    code = "stranger_not_found"


class PictureNotFound(NotFound):
    code = "picture_not_found"


class StrangersOff(NotFound):
    code = "strangers_off"


class CameraNotFound(NotFound):
    code = "camera_not_found"


class Conflict(RecognizerError):
    code = "conflict"


class NameTaken(Conflict):
    code = "name_taken"


class LooksLikeAnother(Conflict):
    code = "looks_like_another"


class CameraFixed(Conflict):
    code = "camera_fixed"


class InUse(Conflict):
    code = "in_use"


class NotEmpty(Conflict):
    code = "not_empty"


class SettingFixed(Conflict):
    code = "setting_fixed"


class TooManyCameras(Conflict):
    code = "too_many_cameras"


class CameraUnavailable(RecognizerError):
    code = "camera_unavailable"
    retry_after = 2.0


class Busy(RecognizerError):
    code = "busy"
    retry_after = 1.0


class Starting(Busy):
    code = "starting"


class StorageError(RecognizerError):
    code = "storage_error"


class SealBroken(StorageError):
    code = "seal_broken"


class AuditBroken(StorageError):
    code = "audit_broken"


class BackupBroken(StorageError):
    code = "backup_broken"


class ModelError(RecognizerError):
    code = "model_error"


class ModelMissing(ModelError):
    code = "model_missing"


class ModelCorrupt(ModelError):
    code = "model_corrupt"


class EngineMismatch(RecognizerError):
    code = "engine_mismatch"


class SettingsError(RecognizerError):
    code = "settings_error"


class KeyMissing(SettingsError):
    code = "key_missing"

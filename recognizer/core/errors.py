"""The errors that this package raises on purpose, as one tree.

::

    RecognizerError
    ├── BadRequest                  the request is wrong; another request may succeed
    │   ├── InvalidParameter        a parameter has an invalid value
    │   ├── InvalidName             a subject's name is not allowed
    │   │   └── InvalidGroup        a group's name is not allowed
    │   ├── InvalidUrl              not an http(s) URL, or malformed
    │   ├── InvalidSource           not a source of video frames
    │   ├── NoImage                 no photo, or a photo given in more than one way
    │   ├── AttributesOff           an attribute is not enabled by the setting
    │   ├── BodyTooLarge            the request body exceeds the limit
    │   ├── UnknownRoute            no route with this path
    │   └── MethodNotAllowed        the route does not accept this method
    ├── ImageError                  the bytes of a photo cannot be used
    │   ├── UnsupportedImage        not an image, or an unsupported format
    │   ├── BrokenImage             the image is damaged or truncated
    │   ├── BrokenVideo             the video is damaged or has no pictures
    │   ├── UnreadableImage         the file cannot be read
    │   ├── ImageTooLarge           more bytes or pixels than the limits allow
    │   └── DecoderError            the decoder process failed; a retry may succeed
    │       ├── DecoderCrashed      it crashed on this photo
    │       ├── DecoderTooSlow      it exceeded the time limit on this photo
    │       └── DecoderUnavailable  it could not be started
    ├── FaceError                   the photo is valid but unsuitable
    │   ├── NoFace                  no face was detected
    │   ├── SeveralFaces            several faces where one is required
    │   ├── FaceTooSmall            the face is below the minimum size
    │   └── PoorPhoto               the face is too blurred or dark to recognise
    ├── FetchError                  a URL could not be fetched
    │   ├── AddressRefused          it leads to an address that is not allowed
    │   ├── FetchTooLarge           the reply exceeds the size limit
    │   ├── FetchFailed             the other server failed or refused
    │   └── FetchTimeout            the other server took too long
    ├── AccessError                 the client is not allowed to do this
    │   ├── KeyRequired             no API key was sent
    │   ├── InvalidKey              the API key is unknown
    │   ├── KeyExpired              the API key has expired
    │   ├── RoleRequired            the key's role is insufficient
    │   ├── LoopbackOnly            other machines are refused while no keys exist
    │   ├── HostRefused             the Host header names another server
    │   ├── OriginRefused           a page of another site sent the request
    │   └── CsrfRefused             the session's CSRF token is missing or wrong
    ├── RateLimited                 too many requests of one key or address
    ├── NotFound                    something that does not exist
    │   ├── GroupNotFound           no group has that name
    │   ├── SubjectNotFound         no subject of that name is enrolled
    │   ├── PhotoNotFound           the subject has no such photo
    │   ├── KeyNotFound             no API key has that id
    │   ├── EventNotFound           no such event, or it has no picture
    │   ├── EventsOff               events are disabled by a setting
    │   ├── StrangerNotFound        no such stranger, or deleted
    │   ├── PictureNotFound         the stranger has no such picture
    │   ├── StrangersOff            strangers are disabled by a setting
    │   ├── CameraNotFound          no camera has that id
    │   ├── SightingsOff            visits at cameras are not kept
    │   ├── BinItemNotFound         the bin has no such deletion, or no longer
    │   ├── FolderNotFound          no such folder is in the archive
    │   ├── ArchiveGroupNotFound    no group of the archive has that id
    │   ├── JobNotFound             no job has that id, or it was deleted
    │   ├── RuleNotFound            no rule has that id, or it was deleted
    │   ├── ReceiverNotFound        no webhook has that id, or it was removed
    │   └── SubscriptionNotFound    no subscribed browser has that id, or it was removed
    ├── Conflict                    conflicts with the current state
    │   ├── NameTaken               the name, or a similar one, is in use
    │   │   └── GroupTaken          a group has the name, or a similar one
    │   ├── LooksLikeAnother        the photo resembles another subject
    │   ├── GroupFixed              the default group cannot be deleted
    │   ├── CameraFixed             the camera comes from a setting
    │   ├── InUse                   another process uses the installation
    │   ├── NotEmpty                the target of a restore is not empty
    │   ├── SettingFixed            the setting has a value elsewhere
    │   ├── BinOff                  deletions cannot be undone here
    │   ├── FolderInArchive         the folder, or one around or in it, is in the archive
    │   ├── NothingToUndo           no decision about the archive can be undone
    │   ├── TooManyCameras          the maximum number of cameras is reached
    │   ├── TooManyJobs             the maximum number of jobs, or of bytes that wait, is reached
    │   ├── TooManyRules            the maximum number of rules is reached
    │   ├── TooManySubscriptions    the maximum number of browsers that get notifications is reached
    │   └── ActionOff               what a rule does needs a setting or a package that is missing
    ├── ActionFailed                what a rule does failed: the receiver was not reached, or refused
    ├── CameraUnavailable           the camera delivers no picture now
    │   └── CameraElsewhere         another node reads the camera, and cannot be asked
    ├── Busy                        the queue is full; try again shortly
    │   ├── Starting                the server is still loading
    │   ├── DatabaseAway            the database of the nodes does not answer
    │   └── NotCaughtUp             this node does not have a change of another one yet
    ├── StorageError                the disk refused a read or a write
    │   ├── SealBroken              encrypted data was changed
    │   ├── AuditBroken             the audit log was changed
    │   ├── DamageRepaired          a file was damaged and has been repaired; try again
    │   └── BackupBroken            not a backup, or damaged
    ├── ModelError                  model weights cannot be used
    │   ├── ModelMissing            a file is missing and could not be fetched
    │   └── ModelCorrupt            a file does not have the trusted hash
    ├── EngineMismatch              templates of different engines were compared
    └── SettingsError               a setting has an invalid value
        ├── KeyMissing              the encryption key of the data is missing
        └── ExifToolMissing         a program that is needed is not installed

``code`` is a stable, machine-readable name; ``details`` are plain data that a reply may contain. Messages are written for the
client: they never contain a path of the server, a secret or a traceback.
"""

from __future__ import annotations

from typing import Any


class RecognizerError(Exception):
    """Base class of the errors that this package raises on purpose.

    Parameters
    ----------
    message : str
        What was expected and what was found, in words for the client.
    **details
        Plain data (str, numbers, lists, dicts) that a reply may contain in addition to the message.

    Attributes
    ----------
    code : str
        Stable, machine-readable name of the error; each class has its own.
    retry_after : float or None
        Seconds after which a retry may succeed.
    """

    code = "error"
    retry_after: float | None = None

    def __init__(self, message: str, **details: Any):
        super().__init__(message)
        self.message = message
        self.details = details


class BadRequest(RecognizerError):
    """A request that cannot be served as it is."""

    code = "bad_request"


class InvalidParameter(BadRequest):
    """A parameter has an invalid value."""

    code = "invalid_parameter"


class InvalidName(BadRequest):
    """A subject's name is not allowed; see `names`."""

    code = "invalid_name"


class InvalidGroup(InvalidName):
    """A group's name is not allowed (see `names`), or what is asked cannot be done to the default group."""

    code = "invalid_group"


class InvalidUrl(BadRequest):
    """The URL is not an http or https URL, or it is malformed."""

    code = "invalid_url"


class InvalidSource(BadRequest):
    """The text does not name a source of video frames."""

    code = "invalid_source"


class NoImage(BadRequest):
    """The request has no photo, or gives it in more than one way."""

    code = "no_image"


class AttributesOff(BadRequest):
    """An attribute of faces is not enabled by the setting."""

    code = "attributes_off"


class BodyTooLarge(BadRequest):
    """The request body exceeds the limit."""

    code = "body_too_large"


class UnknownRoute(BadRequest):
    """No route has this path."""

    code = "unknown_route"


class MethodNotAllowed(BadRequest):
    """The route does not accept this method."""

    code = "method_not_allowed"


class ImageError(RecognizerError):
    """The bytes that were given as a photo cannot be used."""

    code = "image_error"


class UnsupportedImage(ImageError):
    """The bytes are not an image, or are in an unsupported format."""

    code = "unsupported_image"


class BrokenImage(ImageError):
    """The image is damaged or truncated."""

    code = "broken_image"


class UnreadableImage(ImageError):
    """The file of the photo cannot be read."""

    code = "unreadable"


class BrokenVideo(ImageError):
    """The video of an archive is damaged, contains no pictures, or is in a form that cannot be decoded."""

    code = "broken_video"


class ImageTooLarge(ImageError):
    """The photo has more bytes or pixels than the limits allow."""

    code = "image_too_large"


class DecoderError(ImageError):
    """The decoder process failed; a retry may succeed."""

    code = "decoder_error"


class DecoderCrashed(DecoderError):
    """The decoder process crashed on this photo."""

    code = "decoder_crashed"


class DecoderTooSlow(DecoderError):
    """The decoder process exceeded the time limit on this photo."""

    code = "decoder_too_slow"


class DecoderUnavailable(DecoderError):
    """The decoder process could not be started."""

    code = "decoder_unavailable"
    retry_after = 1.0


class FaceError(RecognizerError):
    """The photo is valid but unsuitable for its purpose."""

    code = "face_error"


class NoFace(FaceError):
    """No face was detected."""

    code = "no_face"


class SeveralFaces(FaceError):
    """Several faces were detected where one is required."""

    code = "several_faces"


class FaceTooSmall(FaceError):
    """The only face is below the minimum size."""

    code = "face_too_small"


class PoorPhoto(FaceError):
    """The face is too blurred or too dark to be distinguished from others."""

    code = "poor_photo"


class FetchError(RecognizerError):
    """A URL could not be fetched."""

    code = "fetch_error"


class AddressRefused(FetchError):
    """The URL leads to an address that is not allowed."""

    code = "address_refused"


class FetchTooLarge(FetchError):
    """The reply exceeds the size limit."""

    code = "fetch_too_large"


class FetchFailed(FetchError):
    """The other server failed or refused, or cannot be reached."""

    code = "fetch_failed"


class FetchTimeout(FetchError):
    """The other server took too long."""

    code = "fetch_timeout"


class AccessError(RecognizerError):
    """The client is not allowed to do this."""

    code = "access_error"


class KeyRequired(AccessError):
    """No API key was sent, and one is required."""

    code = "key_required"


class InvalidKey(AccessError):
    """The API key is unknown."""

    code = "invalid_key"


class KeyExpired(AccessError):
    """The API key has expired."""

    code = "key_expired"


class RoleRequired(AccessError):
    """The role of the API key is insufficient."""

    code = "role_required"


class LoopbackOnly(AccessError):
    """Requests from other machines are refused while no API keys exist."""

    code = "loopback_only"


class HostRefused(AccessError):
    """The ``Host`` header names another server."""

    code = "host_refused"


class OriginRefused(AccessError):
    """A page of another site sent the request."""

    code = "origin_refused"


class CsrfRefused(AccessError):
    """The session was used without its CSRF token."""

    code = "csrf_refused"


class RateLimited(RecognizerError):
    """Too many requests of one API key or from one address; `retry_after` is the time in seconds until the next is allowed."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after: float = 60.0, **details: Any):
        super().__init__(message, **details)
        self.retry_after = retry_after


class NotFound(RecognizerError):
    """The request names something that does not exist."""

    code = "not_found"


class GroupNotFound(NotFound):
    """No group has that name."""

    code = "group_not_found"


class SubjectNotFound(NotFound):
    """No subject of that name is enrolled."""

    code = "subject_not_found"


class PhotoNotFound(NotFound):
    """The subject has no such photo."""

    code = "photo_not_found"


class KeyNotFound(NotFound):
    """No API key has that id."""

    code = "key_not_found"


class EventNotFound(NotFound):
    """No event has that id, or the event has no picture."""

    code = "event_not_found"


class EventsOff(NotFound):
    """Events are disabled by a setting."""

    code = "events_off"


class StrangerNotFound(NotFound):
    """No stranger has that id, or the stranger was deleted."""

    code = "stranger_not_found"


class PictureNotFound(NotFound):
    """The stranger has no such picture."""

    code = "picture_not_found"


class StrangersOff(NotFound):
    """Storing strangers is disabled by a setting."""

    code = "strangers_off"


class BinItemNotFound(NotFound):
    """The bin has no such deletion, or no longer."""

    code = "bin_item_not_found"


class CameraNotFound(NotFound):
    """No camera has that id."""

    code = "camera_not_found"


class SightingsOff(NotFound):
    """Keeping visits at cameras is disabled by a setting."""

    code = "sightings_off"


class FolderNotFound(NotFound):
    """The archive has no such folder."""

    code = "folder_not_found"


class ArchiveGroupNotFound(NotFound):
    """The archive has no such group of faces, or no longer."""

    code = "archive_group_not_found"


class JobNotFound(NotFound):
    """No job has that id, or it was deleted."""

    code = "job_not_found"


class RuleNotFound(NotFound):
    """No rule has that id, or it was deleted."""

    code = "rule_not_found"


class ReceiverNotFound(NotFound):
    """No webhook has that id, or it was removed."""

    code = "receiver_not_found"


class SubscriptionNotFound(NotFound):
    """No browser that gets notifications has that id, or it was removed."""

    code = "subscription_not_found"


class Conflict(RecognizerError):
    """The request conflicts with the current state."""

    code = "conflict"


class NameTaken(Conflict):
    """Another subject or camera has that name, or one that is too similar."""

    code = "name_taken"


class GroupTaken(NameTaken):
    """A group has that name, or one that is too similar."""

    code = "group_taken"


class LooksLikeAnother(Conflict):
    """The photo resembles another enrolled subject."""

    code = "looks_like_another"


class GroupFixed(Conflict):
    """The default group cannot be deleted."""

    code = "group_fixed"


class CameraFixed(Conflict):
    """The camera comes from a setting and cannot be changed over the API."""

    code = "camera_fixed"


class InUse(Conflict):
    """Another process uses something that this operation needs for itself."""

    code = "in_use"


class NotEmpty(Conflict):
    """The target of a restore is not empty."""

    code = "not_empty"


class SettingFixed(Conflict):
    """The environment or the configuration file has a value for the setting, or it can only be set there."""

    code = "setting_fixed"


class BinOff(Conflict):
    """Deletions are final: `RECOGNIZER_BIN_DAYS` is 0."""

    code = "bin_off"


class FolderInArchive(Conflict):
    """The folder is in the archive, or it contains or is inside a folder that is."""

    code = "folder_in_archive"


class NothingToUndo(Conflict):
    """No decision about the archive can be undone, or what it was about has changed since."""

    code = "nothing_to_undo"


class TooManyCameras(Conflict):
    """The maximum number of cameras is reached."""

    code = "too_many_cameras"


class TooManyJobs(Conflict):
    """The maximum number of jobs, or of bytes of uploaded photos that wait, is reached."""

    code = "too_many_jobs"


class TooManyRules(Conflict):
    """The maximum number of rules is reached."""

    code = "too_many_rules"


class TooManySubscriptions(Conflict):
    """The maximum number of browsers that get notifications is reached."""

    code = "too_many_subscriptions"


class ActionOff(Conflict):
    """What a rule does, a message to a browser or receiver, or a notification of a bucket, needs something that is missing or
    disabled here."""

    code = "action_off"


class ActionFailed(RecognizerError):
    """A message of a rule, or a test, failed: the receiver could not be reached, or refused it."""

    code = "action_failed"


class CameraUnavailable(RecognizerError):
    """The camera delivers no picture at the moment."""

    code = "camera_unavailable"
    retry_after = 2.0


class CameraElsewhere(CameraUnavailable):
    """Another node reads the camera and cannot be reached from here, or no node reads it at this moment."""

    code = "camera_elsewhere"


class Busy(RecognizerError):
    """The queue is full; a retry may succeed shortly."""

    code = "busy"
    retry_after = 1.0


class Starting(Busy):
    """The server is still loading."""

    code = "starting"


class DatabaseAway(Busy):
    """The database that the nodes share cannot be reached now. Searches go on; changes need it."""

    code = "database_away"
    retry_after = 2.0


class NotCaughtUp(Busy):
    """A request brought the number of a change that this node does not have yet."""

    code = "not_caught_up"


class StorageError(RecognizerError):
    """The disk refused a read or a write."""

    code = "storage_error"


class SealBroken(StorageError):
    """Encrypted data was changed or truncated."""

    code = "seal_broken"


class AuditBroken(StorageError):
    """The audit log was changed."""

    code = "audit_broken"


class DamageRepaired(StorageError):
    """A damaged file was found and replaced, so that nothing was done; another try can succeed."""

    code = "damage_repaired"
    retry_after = 1.0


class BackupBroken(StorageError):
    """The file is not a backup, or it is damaged."""

    code = "backup_broken"


class ModelError(RecognizerError):
    """A file of model weights cannot be used."""

    code = "model_error"


class ModelMissing(ModelError):
    """A file of weights is missing and could not be fetched."""

    code = "model_missing"


class ModelCorrupt(ModelError):
    """A file of weights does not have the trusted hash."""

    code = "model_corrupt"


class EngineMismatch(RecognizerError):
    """Templates of different engines were compared."""

    code = "engine_mismatch"


class SettingsError(RecognizerError):
    """A setting has an invalid value."""

    code = "settings_error"


class KeyMissing(SettingsError):
    """The data is encrypted with a key that is missing."""

    code = "key_missing"


class ExifToolMissing(SettingsError):
    """ExifTool, which reads and writes names in photos, is not installed."""

    code = "exif_tool_missing"

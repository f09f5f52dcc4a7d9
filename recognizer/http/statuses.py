"""The HTTP status of each error; no other module knows both."""

from __future__ import annotations

from recognizer.core.errors import (
    AccessError,
    AddressRefused,
    AuditBroken,
    BackupBroken,
    BadRequest,
    BodyTooLarge,
    Busy,
    CameraUnavailable,
    Conflict,
    DamageRepaired,
    DecoderUnavailable,
    EngineMismatch,
    FaceError,
    FetchError,
    FetchFailed,
    FetchTimeout,
    FetchTooLarge,
    ImageError,
    ImageTooLarge,
    InvalidKey,
    KeyExpired,
    KeyRequired,
    MethodNotAllowed,
    ModelError,
    NotFound,
    RateLimited,
    RecognizerError,
    SealBroken,
    SettingsError,
    StorageError,
    UnknownRoute,
    UnsupportedImage,
)

#: The status of each error. A class that is not listed has the status of its nearest ancestor.
STATUS = {
    BadRequest: 400,
    BodyTooLarge: 413,
    UnknownRoute: 404,
    MethodNotAllowed: 405,
    ImageError: 422,
    UnsupportedImage: 415,
    ImageTooLarge: 413,
    DecoderUnavailable: 503,
    FaceError: 422,
    FetchError: 502,
    FetchFailed: 502,
    AddressRefused: 400,
    FetchTooLarge: 413,
    FetchTimeout: 504,
    AccessError: 403,
    KeyRequired: 401,
    InvalidKey: 401,
    KeyExpired: 401,
    RateLimited: 429,
    NotFound: 404,
    Conflict: 409,
    CameraUnavailable: 503,
    Busy: 503,
    StorageError: 507,
    DamageRepaired: 503,
    SealBroken: 500,
    AuditBroken: 500,
    BackupBroken: 500,
    ModelError: 503,
    EngineMismatch: 500,
    SettingsError: 500,
    RecognizerError: 500,
}


def status_of(error: RecognizerError) -> int:
    """The HTTP status of an error: its class's, or its nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)

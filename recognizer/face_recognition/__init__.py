"""face_recognition's public API on this project's engines: change one import for the same results in less time.

::

    from recognizer import face_recognition  # instead of: import face_recognition

Boxes are (top, right, bottom, left), as in face_recognition. Differences: networks are loaded on first use; the functions are
thread-safe; encodings are equal within 1e-5 instead of bit by bit; a truncated photo is an error instead of partly grey; images
can have any memory layout (``frame[:, :, ::-1]``); and `num_jitters` gives the same encoding on every call.
"""

from recognizer.face_recognition.api import (
    batch_face_locations,
    compare_faces,
    face_distance,
    face_encodings,
    face_landmarks,
    face_locations,
    load_image_file,
)

__all__ = [
    "batch_face_locations",
    "compare_faces",
    "face_distance",
    "face_encodings",
    "face_landmarks",
    "face_locations",
    "load_image_file",
]

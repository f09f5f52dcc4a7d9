"""face_recognition's public API on this project's engines: change one import, get the same answers sooner.

::

    from recognizer import face_recognition          # instead of: import face_recognition

Boxes are (top, right, bottom, left), as there. What differs: nothing is loaded until it is used, any number of threads
may call at once, encodings agree within 1e-5 instead of to the last bit, a photo that is cut short is an error instead of
half grey, images of any memory layout (``frame[:, :, ::-1]``) will do, and `num_jitters` gives the same encoding each time.
"""

from .api import (
    batch_face_locations,
    compare_faces,
    face_distance,
    face_encodings,
    face_landmarks,
    face_locations,
    load_image_file,
)

__all__ = [
    "batch_face_locations", "compare_faces", "face_distance", "face_encodings", "face_landmarks", "face_locations",
    "load_image_file",
]  # fmt: skip

"""What http_load.py compares with: an upload service in the way of face_recognition's Flask example.

    python benchmarks/flask_example.py GALLERY.npy PORT

GET / answers with a form; POST / takes the photo in the field `file`, finds and encodes its faces with face_recognition's
defaults, compares each with every known encoding and answers JSON. It is served by Flask's own server, as the example is.
"""

from __future__ import annotations

import sys

import face_recognition
import flask
import numpy as np

FORM = '<form method="post" enctype="multipart/form-data"><input type="file" name="file"><input type="submit"></form>'


def make_app(known: list[np.ndarray]) -> flask.Flask:
    app = flask.Flask("faces")

    @app.get("/")
    def form():
        return FORM

    @app.post("/")
    def recognise():
        picture = face_recognition.load_image_file(flask.request.files["file"])
        found = [face_recognition.compare_faces(known, encoding) for encoding in face_recognition.face_encodings(picture)]
        return flask.jsonify(faces=[[int(i) for i in np.flatnonzero(matches)] for matches in found])

    return app


if __name__ == "__main__":
    make_app(list(np.load(sys.argv[1]).astype(np.float64))).run("127.0.0.1", int(sys.argv[2]))

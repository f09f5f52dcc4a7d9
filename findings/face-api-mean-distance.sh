#!/usr/bin/env bash
# face-api.js 0.22.2 and its successor @vladmandic/face-api 1.7.15 (read 2026-11-30): FaceMatcher compares a face with the mean of the
# distances to all photos of a person, not with the nearest photo. Photos that differ, with glasses, of another year or from the
# side, so make a person harder to find: the very photo that was enrolled is given to somebody else who has one photo, or is
# "unknown". Other face services take the nearest photo, and people are asked for different photos there for that reason.
# One label for each photo, or computing the smallest of euclideanDistance(), avoids it.
#
#   bash findings/face-api-mean-distance.sh
#
# Installs the pinned packages into a temporary folder (400 MB, most of it TensorFlow.js), and matches embeddings that are made up.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work" face-api.js@0.22.2 @vladmandic/face-api@1.7.15 \
    @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
cat > "$work/try.mjs" <<'JS'
import original from "face-api.js";
import successor from "@vladmandic/face-api/dist/face-api.node-wasm.js";

// An embedding at a distance from the one that is all zeros, in a direction of its own.
const photo = (direction, distance) => Float32Array.from({ length: 128 }, (_, i) => (i === direction ? distance : 0));
const ada = [photo(0, 0), photo(1, 0.9), photo(2, 0.9)];
const grace = [photo(3, 0.5)];
const labels = [];
for (const { FaceMatcher, LabeledFaceDescriptors } of [original, successor]) {
  const alone = new FaceMatcher([new LabeledFaceDescriptors("Ada", ada.slice(0, 1))]).findBestMatch(ada[0]);
  const more = new FaceMatcher([new LabeledFaceDescriptors("Ada", [...ada, photo(4, 0.9)])]).findBestMatch(ada[0]);
  const both = new FaceMatcher([new LabeledFaceDescriptors("Ada", ada), new LabeledFaceDescriptors("Grace", grace)]).findBestMatch(ada[0]);
  console.log(`an enrolled photo of Ada, of whom there is this photo: ${alone}; four: ${more}; three, and one of Grace: ${both}`);
  labels.push(alone.label, more.label, both.label);
}
process.exit(labels.join() === "Ada,unknown,Grace,Ada,unknown,Grace" ? 0 : 1);
JS
if node "$work/try.mjs" 2> /dev/null; then as_described "more photos make a person farther"; else changed; fi

#!/usr/bin/env bash
# @exadel/compreface-js-sdk 1.0.0 (read 2026-11-29): a face collection or a list of subjects that is used twice asks for wrong
# addresses. Each call of delete, verify or rename lengthens the address that the object keeps: the second delete goes to
# .../faces/FIRST/SECOND, and a list after it to .../faces/FIRST/SECOND as well. A program that erases two photos erases one.
# A new object for each call, from getFaceCollection() or getSubjects(), avoids it.
#
#   bash findings/compreface-js-sdk-addresses.sh
#
# Installs the pinned package into a temporary folder, and lets it delete two images of a server that writes down what is asked.
# Ends with 0 while this is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work" @exadel/compreface-js-sdk@1.0.0
cat > "$work/try.mjs" <<'JS'
import { createServer } from "node:http";
import { CompreFace } from "@exadel/compreface-js-sdk";

const asked = [];
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  response.setHeader("Content-Type", "application/json");
  response.end("{}");
}).listen(0, "127.0.0.1", async () => {
  const collection = new CompreFace("http://127.0.0.1", server.address().port)
    .initFaceRecognitionService("00000000-0000-0000-0000-000000000002")
    .getFaceCollection();
  await collection.delete("first");
  await collection.delete("second");
  console.log(asked.join("\n"));
  server.close();
  process.exit(asked[0].endsWith("/faces/first") && asked[1].endsWith("/faces/first/second") ? 0 : 1);
});
JS
if node "$work/try.mjs"; then
    echo "as described: the second image is asked for below the first"
else
    echo "this has changed"
    exit 1
fi

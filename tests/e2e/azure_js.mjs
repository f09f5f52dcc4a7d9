// What JavaScript programs do with Azure Face's two packages: node azure_js.mjs FOLDER_OF_PACKAGES PORT, in the folder of the photos.
// What they said is printed as the last line, in JSON.
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, port] = process.argv.slice(2);
const require = createRequire(`${packages}/node_modules/`);
const { FaceClient } = require("@azure/cognitiveservices-face");
const { ApiKeyCredentials } = require("@azure/ms-rest-js");
const { default: createClient, isUnexpected } = require("@azure-rest/ai-vision-face");

const endpoint = `http://127.0.0.1:${port}`;
const said = {};

const old = new FaceClient(new ApiKeyCredentials({ inHeader: { "Ocp-Apim-Subscription-Key": "any" } }), endpoint);
await old.personGroup.create("friends", "My friends", { userData: "of mine", recognitionModel: "recognition_04" });
said.again = await old.personGroup.create("friends", "x").catch((error) => error.body.error.code);
const person = await old.personGroupPerson.create("friends", { name: "Barack" });
await old.personGroupPerson.addFaceFromStream("friends", person.personId, () => createReadStream("obama.jpg"));
await old.personGroup.train("friends");
said.training = (await old.personGroup.getTrainingStatus("friends")).status;
const detect = (name) => old.face.detectWithStream(readFileSync(`${name}.jpg`), { returnFaceAttributes: ["HeadPose", "Blur"] });
const [seen] = await detect("obama2");
said.attributes = Object.keys(seen.faceAttributes).sort();
const [stranger] = await detect("collins");
const found = await old.face.identify([seen.faceId, stranger.faceId], { personGroupId: "friends" });
said.names = found.map(({ candidates }) => candidates.map(({ personId }) => personId === person.personId));
said.people = (await old.personGroupPerson.list("friends")).map(({ name }) => name);

const client = createClient(endpoint, { key: "any" }, { allowInsecureConnection: true });
const face = await client.path("/detect").post({
  contentType: "application/octet-stream",
  queryParameters: { detectionModel: "detection_03", recognitionModel: "recognition_04", returnFaceId: true },
  body: readFileSync("obama2.jpg"),
});
const again = await client.path("/identify").post({
  body: { faceIds: [face.body[0].faceId], personGroupId: "friends", maxNumOfCandidatesReturned: 1 },
});
said.rest = again.body.map(({ candidates }) => candidates.map(({ personId }) => personId === person.personId));
const missing = await client.path("/persongroups/{personGroupId}", "nothing").get();
said.missing = isUnexpected(missing) ? missing.body.error.code : "";

await old.personGroup.deleteMethod("friends");
said.left = (await old.personGroup.list()).map(({ personGroupId }) => personGroupId);
console.log(JSON.stringify(said));

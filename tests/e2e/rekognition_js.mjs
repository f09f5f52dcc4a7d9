// What JavaScript programs do with Amazon's SDK: node rekognition_js.mjs FOLDER_OF_PACKAGES PORT, in the folder of the photos.
// What they said is printed as the last line, in JSON. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have the key.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, port] = process.argv.slice(2);
const require = createRequire(`${packages}/node_modules/`);
const rekognition = require("@aws-sdk/client-rekognition");

const options = { endpoint: `http://127.0.0.1:${port}/rekognition`, region: "eu-central-1", maxAttempts: 1 };
const client = new rekognition.RekognitionClient(options);
const ask = (name, given = {}) => client.send(new rekognition[`${name}Command`](given));
const photo = (name) => ({ Bytes: readFileSync(`${name}.jpg`) });
const refused = (name, given) => ask(name, given).then(() => "", (error) => [error.name, error.$metadata.httpStatusCode]);
const staff = { CollectionId: "staff" };
const said = {};

said.made = (await ask("CreateCollection", staff)).StatusCode;
said.again = await refused("CreateCollection", staff);
const { FaceRecords: [{ Face: face }] } = await ask("IndexFaces", { ...staff, ExternalImageId: "Barack", Image: photo("obama") });
said.nobody = await refused("SearchFacesByImage", { ...staff, Image: photo("nobody") });
const search = async (name) => (await ask("SearchFacesByImage", { ...staff, Image: photo(name) })).FaceMatches;
said.known = (await search("obama2")).map((match) => [match.Face.ExternalImageId, match.Face.FaceId === face.FaceId]);
said.stranger = await search("collins");
said.similar = (await ask("CompareFaces", { SourceImage: photo("obama"), TargetImage: photo("obama2") })).FaceMatches.length;
said.found = (await ask("DetectFaces", { Image: photo("biden") })).FaceDetails.length;
await ask("CreateUser", { ...staff, UserId: "barack" });
said.user = (await ask("AssociateFaces", { ...staff, UserId: "barack", FaceIds: [face.FaceId] })).UserStatus;
said.users = (await ask("SearchUsersByImage", { ...staff, Image: photo("obama2") })).UserMatches.map(({ User }) => User.UserId);
said.pages = [];
for await (const page of rekognition.paginateListFaces({ client, pageSize: 1 }, staff)) {
  said.pages.push(...page.Faces.map(({ ExternalImageId }) => ExternalImageId));
}
said.deleted = (await ask("DeleteFaces", { ...staff, FaceIds: [face.FaceId] })).DeletedFaces.length;
said.left = (await ask("DescribeCollection", staff)).FaceCount;
await ask("DeleteCollection", staff);
const forger = new rekognition.RekognitionClient({ ...options, credentials: { accessKeyId: "nobody", secretAccessKey: "wrong" } });
said.forged = await forger.send(new rekognition.ListCollectionsCommand({})).then(() => "", (error) => error.name);
console.log(JSON.stringify(said));

// What JavaScript programs do with CompreFace's SDK: node compreface_js.mjs FOLDER_OF_PACKAGES PORT, in the folder of the photos.
// What the SDK said is printed as the last line, in JSON.
import { readFileSync } from "node:fs";

const [packages, port] = process.argv.slice(2);
const { CompreFace } = await import(`${packages}/node_modules/@exadel/compreface-js-sdk/index.js`);

const service = new CompreFace("http://127.0.0.1", Number(port), { det_prob_threshold: 0.8 });
const key = "00000000-0000-0000-0000-000000000002";
const recognition = service.initFaceRecognitionService(key);
const collection = () => recognition.getFaceCollection(); // the SDK lengthens the address of one that is used twice
const subjects = () => recognition.getSubjects();
const refusal = (error) => error.response.data;
const names = ({ result }) => result.map(({ subjects: [nearest] }) => (nearest.similarity >= 0.5 ? nearest.subject : null));

const said = {};
said.added = await collection().add("./obama.jpg", encodeURIComponent("Barack & Co"), { det_prob_threshold: 0.8 });
said.base64 = await collection().add(readFileSync("biden.jpg").toString("base64"), "Joe", {});
said.subjects = await subjects().list();
said.known = names(await recognition.recognize("./obama2.jpg", { limit: 1, prediction_count: 2, status: true }));
said.stranger = names(await recognition.recognize("./collins.jpg", {}));
said.nobody = await recognition.recognize("./nobody.jpg", {}).catch(refusal);
said.detected = await service.initFaceDetectionService(key).detect("./collins.jpg", { face_plugins: "landmarks,pose" });
said.verified = await service.initFaceVerificationService(key).verify("./obama.jpg", "./obama2.jpg", {});
said.renamed = await subjects().rename(encodeURIComponent("Barack & Co"), "Barack");
said.list = await collection().list();
said.deleted = await collection().delete(said.added.image_id);
said.several = await collection().delete_multiple_images([said.base64.image_id, said.added.image_id, "no id"]);
said.missing = await collection().delete(said.added.image_id).catch(refusal);
said.left = await subjects().list();
console.log(JSON.stringify(said));

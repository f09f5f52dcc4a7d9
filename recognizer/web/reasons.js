// Why a camera gives no picture, and why a visit ended, in the reader's language. The server says it in English, also in events
// that were stored long ago. A sentence that is not here, such as one with a library's own words, stays as it is.

import { phrase } from "./i18n.js";

const SENTENCES = [
  phrase("another program uses the webcam"),
  phrase("every photo of the folder was shown"),
  phrase("every picture is black"),
  phrase("every picture is of a single colour"),
  phrase("it announces MJPEG, but its data is not MJPEG"),
  phrase("it answers with a text or a playlist, not with a video: look for the URL of its stream"),
  phrase("it cannot be opened: {problem}"),
  phrase("it contains a cover picture, but no video"),
  phrase("it contains no video"),
  phrase("it could not be opened"),
  phrase("it does not exist"),
  phrase("it is a playlist or names other files, which are not followed"),
  phrase("it is an MP4 file with its index at the end, which cannot be read while it arrives; {command} puts it in front"),
  phrase("it is coded as {codec}, which the installed version of OpenCV cannot decode"),
  phrase("it is interlaced video, which the installed version of OpenCV cannot read"),
  phrase("it is not a file"),
  phrase("it is not a readable video"),
  phrase("it is not below the folder of RECOGNIZER_CAMERA_FILES: a symbolic link leads out of it"),
  phrase("it replies with the content encoding {coding}, which was not requested"),
  phrase("it was opened, but no picture came"),
  phrase("its content encoding is damaged"),
  phrase("its pictures are damaged"),
  phrase("its pictures are larger than {count} pixels"),
  phrase("its colours are coded in a way that is not read (YCgCo, ICtCp or the like): convert it to BT.709"),
  phrase("its pictures are rotated by an angle that is not a multiple of 90 degrees"),
  phrase("its reply is empty"),
  phrase("its resolution changed"),
  phrase("no picture came for {seconds} seconds"),
  phrase("no process could be started to read it: {problem}"),
  phrase("nothing listens on port {port} of the camera"),
  phrase("on this system only MJPEG is read over HTTP"),
  phrase("reading it failed"),
  phrase("reading it failed; the server's log says how"),
  phrase("the camera answered with status {status}"),
  phrase("the camera cannot be reached"),
  phrase("the camera closed the connection"),
  phrase("the camera does not accept the user name and password"),
  phrase("the camera does not answer"),
  phrase("the camera has ended"),
  phrase("the camera has no such page"),
  phrase("the camera has no such stream"),
  phrase("the camera is frozen"),
  phrase("the camera is lost"),
  phrase("the camera's port is closed"),
  phrase("the picture has not changed for {seconds} seconds"),
  phrase("the process that read it broke down; what it gives may be damaged"),
  phrase("the recording is over"),
  phrase("the server may not open it"),
  phrase("the server may not read this file"),
  phrase("the server may not use {name}: its user has to be in the group video"),
  phrase("the server stopped"),
  phrase("the server was stopped abruptly"),
  phrase("the stream ended"),
  phrase("there is no host {name}"),
  phrase("there is no photo in this folder"),
  phrase("there is no such file"),
  phrase("a picture of it has more than {count} bytes"),
  phrase("the connection failed, or nothing arrived for too long"),
  phrase("the certificate of {name} is not trusted: {problem}"),
  phrase("no secure connection to {name} could be made"),
  phrase("no connection to {name} could be made"),
  phrase("looking up {name} was interrupted"),
  phrase("there is no usable address of {name}"),
  phrase("expected a complete reply within {seconds} seconds, got none"),
  phrase("expected an address of {name} within {seconds} seconds, got none"),
  phrase("expected at most {count} redirects, got more"),
  phrase("{name} answered with status {status}"),
  phrase("{name} closed the connection or did not answer with HTTP"),
  phrase("{name} closed the connection before the end of its reply"),
  phrase("{name} sent an empty reply"),
  phrase("{name} sent a redirect without a location"),
  phrase("{name} used a content encoding that was not requested"),
  phrase("{name} is not attached"),
  phrase("{name} leads to an address that is not allowed for cameras; RECOGNIZER_CAMERA_ALLOW lists those that are"),
];

/** A reason of the server in the reader's language; two may be joined by a semicolon. */
export function reasonWords(reason) {
  return reason && (one(reason) ?? reason.split("; ").map((each) => one(each) ?? each).join("; "));
}

function one(reason) {
  for (const put of SENTENCES) {
    const found = put(reason);
    if (found) return found;
  }
  return null;
}

// A face that another view hands over to the archive: "find this person". It is kept until the archive's view takes it.

let handed = null;

/** Hands a photo over; `box` is the face on it, in its pixels. */
export const handOver = (photo, box) => (handed = { photo, box });

/** The photo that was handed over, once. */
export function takeOver() {
  const taken = handed;
  handed = null;
  return taken;
}

/** The four edges of a box as the API takes them. */
export const edges = (box) => [box.left, box.top, box.right, box.bottom].join(",");

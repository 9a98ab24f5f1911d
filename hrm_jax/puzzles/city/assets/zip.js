/* ZIP files: written without compression, read with and without. */

const [ENTRY, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const NEW_YEAR = 33; // 1 January 1980, so that a file depends on nothing but its contents

/* Numbers of so many bytes each, the lowest first. */
function record(...fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [, width]) => sum + width, 0));
  let at = 0;
  for (const [value, width] of fields) {
    for (let k = 0; k < width; k++) bytes[at++] = Math.floor(value / 256 ** k) % 256;
  }
  return bytes;
}

/* A ZIP of [name, text] pairs, as a list of pieces that make a Blob. */
function zipped(files) {
  const [encoder, pieces, central] = [new TextEncoder(), [], []];
  let at = 0;
  for (const [name, text] of files) {
    const [title, body] = [name, text].map((part) => encoder.encode(part));
    const about = [[20, 2], [0, 2], [0, 2], [0, 2], [NEW_YEAR, 2], [crc32(body), 4], [body.length, 4],
      [body.length, 4], [title.length, 2], [0, 2]];
    const header = record([ENTRY, 4], ...about);
    central.push(record([CENTRAL, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), title);
    pieces.push(header, title, body);
    at += header.length + title.length + body.length;
  }
  const length = central.reduce((sum, piece) => sum + piece.length, 0);
  const count = files.length;
  const end = record([END, 4], [0, 2], [0, 2], [count, 2], [count, 2], [length, 4], [at, 4], [0, 2]);
  return [...pieces, ...central, end];
}

/* The files of a ZIP: Map of name -> text. What is none, or is damaged, is an Error. */
async function unzipped(buffer) {
  const [view, decoder, files] = [new DataView(buffer), new TextDecoder(), new Map()];
  const number = (at, width) => (width === 2 ? view.getUint16(at, true) : view.getUint32(at, true));
  try {
    let end = buffer.byteLength - 22;
    while (number(end, 4) !== END) end--;
    let at = number(end + 16, 4);
    for (let left = number(end + 10, 2); left > 0; left--) {
      if (number(at, 4) !== CENTRAL) throw new RangeError();
      const [method, crc, packed] = [number(at + 10, 2), number(at + 16, 4), number(at + 20, 4)];
      const [title, extra, remark, entry] = [[28, 2], [30, 2], [32, 2], [42, 4]].map(([o, w]) => number(at + o, w));
      const name = decoder.decode(new Uint8Array(buffer, at + 46, title));
      const from = entry + 30 + number(entry + 26, 2) + number(entry + 28, 2);
      const bytes = await inflated(new Uint8Array(buffer, from, packed), method);
      if (crc32(bytes) !== crc) throw new RangeError();
      files.set(name, decoder.decode(bytes));
      at += 46 + title + extra + remark;
    }
  } catch {
    throw new Error("not a ZIP, or a damaged one");
  }
  return files;
}

async function inflated(bytes, method) {
  if (!method) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* What takes longer than a moment, away from the page: {generate: {law, counts}} or {read: ArrayBuffer} in;
   {progress: [done, all]}, {data, card, zip?} or {error} out. */

const EVERY = 4; // scenarios to a line of progress

async function answer({ generate: wanted, read }) {
  if (read) {
    const data = dataOf(await unzipped(read));
    return { data, card: assess(data) };
  }
  const all = wanted.counts.train + wanted.counts.test;
  const data = generate(wanted.law, wanted.counts, (done) => {
    if (done % EVERY === 0 || done === all) postMessage({ progress: [done, all] });
  });
  return { data, card: assess(data), zip: new Blob(zipped(filesOf(data)), { type: "application/zip" }) };
}

onmessage = ({ data }) => answer(data).then(postMessage, (error) => postMessage({ error: error.message }));

/* A data set, made here or read from a ZIP: its score, its gates, its examples. */

const [train, test] = [at("train"), at("test")];
let shown = null; // the data set
let task = null; // the worker that is at it

/* Have the worker do something; `done` gets its answer, and a refusal begins with `source`. */
function work(message, said, done, source = "") {
  stop();
  complain(at("data-error"));
  at("data-state").textContent = said;
  const script = at("library").textContent + at("worker").textContent;
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  task = new Worker(address);
  at("cancel").disabled = false;
  at("progress").removeAttribute("value");
  at("progress").hidden = false;
  at("data").setAttribute("aria-busy", "true");
  task.onmessage = ({ data: answer }) => {
    if (answer.progress) return showProgress(...answer.progress);
    stop();
    if (answer.error) fail(source + answer.error);
    else done(answer);
  };
  task.onerror = (event) => { stop(); fail(source + event.message); };
  task.postMessage(message);
  URL.revokeObjectURL(address);
}

function stop() {
  task?.terminate();
  task = null;
  at("cancel").disabled = at("progress").hidden = true;
  at("data").removeAttribute("aria-busy");
}

function fail(message) {
  at("data-state").textContent = shown ? "The data set below is as it was." : "No data set is shown.";
  complain(at("data-error"), message);
}

/* The bar always; words ten times, for those who hear them. */
function showProgress(done, all) {
  const bar = at("progress");
  const [before, now] = [bar.value, done / all].map((share) => Math.floor(10 * share));
  bar.value = done / all;
  if (now > before) at("data-state").textContent = done < all ? `${done} of ${all} scenarios` : "Scoring";
}

function generateData() {
  const counts = { train: valueOf(train), test: valueOf(test) };
  const { size, seed } = lawOf();
  work({ generate: { law: { size, seed, hours: HOURS }, counts } }, "Drawing scenarios", ({ data, card, zip }) => {
    show(data, card, `Made with seed ${seed}`, zip);
  });
}

async function readData(file) {
  const read = await file.arrayBuffer().catch(() => null);
  if (!read) return fail(`${file.name}: cannot be read`); // a folder, or gone
  work({ read }, `Reading ${file.name}`, ({ data, card }) => show(data, card, file.name), `${file.name}: `);
}

/* A data set, and the ZIP of one that was made here. */
function show(data, card, title, zip = null) {
  shown = data;
  URL.revokeObjectURL(at("download").href);
  if (zip) at("download").href = URL.createObjectURL(zip);
  else at("download").removeAttribute("href");
  at("download").hidden = !zip;
  const [n, m] = SPLITS.map((split) => data.splits[split].inputs.length);
  at("data-state").textContent = `${title}: ${n} training and ${m} test examples. ${verdictOf(card)}`;
  at("loaded").hidden = false;
  showCard(card);
  at("example").value = 0;
  showExample();
}

// ---------------------------------------------------------------- the card

function verdictOf({ score, band, passed, gates }) {
  const failed = gates.filter((gate) => !gate.passed).length;
  const verdict = passed ? "passed" : failed ? `not passed, ${failed} of ${gates.length} gates fail` : "not passed";
  return `${score} of 100 points, ${band}; ${verdict}.`;
}

function showCard(card) {
  at("score").textContent = verdictOf(card);
  const css = (passed) => (passed ? "" : "failed");
  fillTable(at("checks"), card.checks.map(({ part, name, points, passed, found }) => ({
    css: css(passed),
    cells: [part, name, [`${passed ? points : 0} / ${points}`, { class: "number" }], found],
  })));
  fillTable(at("gates"), card.gates.map(({ name, passed, found }) => ({
    css: css(passed), cells: [name, passed ? "✓ yes" : "✗ no", found],
  })));
}

// ---------------------------------------------------------------- examples

function showExample() {
  const { inputs, labels, identifiers, scenarios, vehicles, hours } = shown.splits[at("of").value];
  at("example").max = inputs.length - 1;
  const n = valueOf(at("example"));
  const [grid, label, vehicle] = [inputs[n], labels[n], vehicles[n]];
  const cells = Array.from(grid.keys()).filter((cell) => label[cell] === PATH || grid[cell] === START || grid[cell] === GOAL);
  const hour = hours ? `, ${hours[n]}:00` : "";
  at("example-state").textContent = `Example ${n} of ${inputs.length}: scenario ${scenarios[n]}, ` +
    `${VEHICLES[vehicle - 1]} (puzzle identifier ${identifiers[n]})${hour}; a route of ${cells.length} cells.`;
  picture(at("input"), "The input", shown.size, (pen) => {
    drawGround(pen, grid);
    drawEnds(pen, grid);
  });
  picture(at("label"), `The label, a route of ${cells.length} cells`, shown.size, (pen) => {
    drawGround(pen, grid);
    drawRoute(pen, walk(cells, grid, shown.size), vehicle, { width: 0.4 });
    drawEnds(pen, grid);
  });
}

/* The marked cells in the order in which they are passed from the start; where ways part, along one of them. */
function walk(cells, grid, size) {
  const left = new Set(cells);
  const way = [];
  for (let cell = grid.indexOf(START); cell >= 0;) {
    way.push(cell);
    left.delete(cell);
    cell = neighbours(cell, size).find((near) => left.has(near)) ?? -1;
  }
  return way;
}

function stepExample(by) {
  at("example").value = valueOf(at("example")) + by;
  if (shown) showExample();
}

function sayCounts() {
  at("counts").textContent = `${valueOf(train)} + ${valueOf(test)}`;
}

[train, test].forEach((field) => field.addEventListener("change", sayCounts));
at("generator").addEventListener("submit", generateData);
at("cancel").addEventListener("click", () => {
  stop();
  at("data-state").textContent = "Cancelled.";
  at("generate").focus();
});
at("of").addEventListener("change", () => { at("example").value = 0; showExample(); });
at("example").addEventListener("change", showExample);
at("example-previous").addEventListener("click", () => stepExample(-1));
at("example-next").addEventListener("click", () => stepExample(1));
keys(at("data"), { ArrowLeft: () => stepExample(-1), ArrowRight: () => stepExample(1) });
onFile(at("zip"), at("drop"), readData);
sayCounts();

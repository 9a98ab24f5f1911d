/* A model's answers, segment by segment, against the labels. */

let told = null; // the predictions

const CELLS = { // what a cell of an answer may be, and how it is drawn
  both: ["on both routes", (pen, cell) => drawDot(pen, cell, "car", true)],
  model: ["the model's alone", (pen, cell) => drawSlashes(pen, cell)],
  oracle: ["the label's alone", (pen, cell) => drawDot(pen, cell, "right", false)],
  changed: ["changed otherwise", (pen, cell) => drawLetter(pen, cell, "?", "wrong")],
};

function drawDot(pen, cell, colour, full) {
  const { context, unit, colours } = pen;
  context.beginPath();
  context.arc(...middle(pen, cell), 0.3 * unit, 0, 2 * Math.PI);
  [context.fillStyle, context.strokeStyle] = [colours[full ? colour : "paper"], colours[colour]];
  context.lineWidth = Math.max(1.5, 0.16 * unit);
  context.fill();
  context.stroke();
}

/* Slashes, and an M where there is room for it. */
function drawSlashes(pen, cell) {
  const { unit } = pen;
  paintCell(pen, cell, "paper");
  scratch(pen, cell, [[-0.5, 0, 0, -0.5], [-0.5, 0.5, 0.5, -0.5], [0, 0.5, 0.5, 0]], "wrong", 0.1);
  if (unit >= LEGIBLE) writeIn(pen, ...middle(pen, cell), "M", "wrong", 0.75 * unit, "paper");
}

/* Predictions as JSON data, checked; what is wrong with them is an Error of one line. */
function predictionsOf(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("no JSON");
  }
  const { kind, height, width, examples } = found ?? {};
  if (kind !== "city") throw new Error('kind is not "city"; hrm_jax.puzzles predictions writes such files');
  if (!isWhole(width) || !width || height !== width) throw new Error("height and width must be equal");
  if (!Array.isArray(examples) || !examples.length) throw new Error("no examples");
  examples.forEach((example, n) => {
    const where = `example ${n}`;
    const segments = example?.segments;
    if (!Array.isArray(segments) || !segments.length) throw new Error(`${where}: no segments`);
    if (!isWhole(example.vehicle) || example.vehicle > VEHICLES.length) throw new Error(`${where}: vehicle is 0 to 4`);
    const grids = [["input", example.input], ["label", example.label], ...segments.map((grid, t) => [`segment ${t + 1}`, grid])];
    for (const [name, grid] of grids) gridFrom(grid, width * width, 256, `${where}, ${name}`);
    checkEnds(example.input, `${where}, input`);
  });
  return found;
}

async function readPredictions(file) {
  try {
    told = predictionsOf(await file.text());
  } catch (error) {
    return complain(at("answers-error"), `${file.name}: ${error.message}`);
  }
  complain(at("answers-error"));
  at("answered").hidden = false;
  at("answer").replaceChildren(...told.examples.map(({ index, vehicle }, n) =>
    new Option(`${index}${vehicle ? `, ${VEHICLES[vehicle - 1]}` : ""}`, n)));
  openAnswer();
}

/* Another example: its last segment first. */
function openAnswer() {
  const { segments } = told.examples[at("answer").value];
  Object.assign(at("segment"), { max: segments.length, value: segments.length });
  showAnswer();
}

function showAnswer() {
  const { input, label, vehicle, segments } = told.examples[at("answer").value];
  const segment = valueOf(at("segment"));
  const answer = segments[segment - 1];
  const kinds = input.map((token, cell) => kindOf(token, label[cell], answer[cell], !label.includes(START)));
  const count = (kind) => kinds.filter((other) => other === kind).length;
  const pathOnly = !label.includes(START);
  const verdict = judge(input, answer, vehicle, told.width, pathOnly);
  const worth = verdict.valid
    ? `A way for the vehicle, cost ${verdict.cost}; the cheapest is ${verdict.least}.`
    : `No way for the vehicle${verdict.forbidden ? `: ${verdict.forbidden} cells are forbidden to it` : ""}.`;
  at("segment").setAttribute("aria-valuetext", `segment ${segment} of ${segments.length}`);
  at("answers-state").textContent = `${told.model ?? "Model"}, segment ${segment} of ${segments.length}: ` +
    `${count("both")} cells on both routes, ${count("model")} the model's alone, ${count("oracle")} the label's alone, ` +
    `${count("changed")} changed otherwise. ${worth}`;
  picture(at("answer-map"), "The model's answer against the label", told.width, (pen) => {
    drawGround(pen, input);
    drawEnds(pen, input);
    kinds.forEach((kind, cell) => { if (kind) CELLS[kind][1](pen, cell); });
  });
  showCells();
}

/* What an answer makes of a cell: a kind of CELLS, or null where there is nothing to see. */
function kindOf(token, right, answer, pathOnly) {
  const [wanted, marked] = [right === PATH, answer === PATH];
  if ([START, GOAL].includes(token)) return answer === right ? null : "changed";
  if (wanted || marked) return wanted && marked ? "both" : wanted ? "oracle" : "model";
  return answer === (pathOnly ? 0 : token) ? null : "changed";
}

function showCells() {
  const list = at("answers-legend");
  if (list.children.length) return;
  for (const [name, paint] of Object.values(CELLS)) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    list.append(make("li", {}, canvas, name));
    picture(canvas, "", 1, (pen) => paint(pen, 0));
  }
}

function stepSegment(by) {
  at("segment").value = Number(at("segment").value) + by;
  if (told) showAnswer();
}

at("answer").addEventListener("change", openAnswer);
at("segment").addEventListener("input", showAnswer);
at("segment-previous").addEventListener("click", () => stepSegment(-1));
at("segment-next").addEventListener("click", () => stepSegment(1));
keys(at("answers"), {
  ArrowLeft: () => stepSegment(-1),
  ArrowRight: () => stepSegment(1),
  ArrowUp: () => told && turn(at("answer"), -1),
  ArrowDown: () => told && turn(at("answer"), 1),
});
onFile(at("predictions"), at("drop-answers"), readPredictions);

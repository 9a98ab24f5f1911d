/* Answers to puzzles as they form, segment by segment. Data: puzzle_traces.packed of
   hrm_jax/reporting/puzzle_traces.py. A viewer is one element .player.puzzles; its step 0 is the puzzle itself,
   step t the answer after t segments. */

const CHANCE = 10000; // chances come in so many parts

const MARKS = [
  ["wrong cell", '<path d="M9 2h12v12h-12z" fill="none" stroke="var(--collision)" stroke-width="2"/>'],
  ["changed since the last segment", '<path d="M9.5 2.5h11v11h-11z" fill="none" stroke="var(--rule-strong)"/>' +
    '<path d="M14 2h7v7z" fill="var(--prediction)"/>'],
];

const kindOf = (data) => PUZZLES[data.kind] ?? PUZZLES[""];

const everything = (example, { size: [rows, columns] }) => ({ top: 0, left: 0, rows, columns });

// ---------------------------------------------------------------- data

async function unpackAnswer(packed) {
  const [predictions, halt, rival] = await Promise.all(
    [[packed.predictions, 1], [packed.halt, CHANCE], [packed.rival, CHANCE]].map((pair) => unpack(...pair)));
  return { exact: flags(packed.exact), halts: flags(packed.halts), predictions, halt, rival };
}

const flags = (text) => [...text].map((digit) => digit === "1");

async function unpackExample(packed, data) {
  const [inputs, labels] = await Promise.all([unpack(packed.inputs, 1), unpack(packed.labels, 1)]);
  const example = { inputs, labels, counts: labels.map((label) => label !== data.ignored) };
  const answers = await Promise.all(packed.answers.map(unpackAnswer));
  return { ...example, answers: answers.map((answer) => ({ ...answer, ...judged(example, answer, data) })) };
}

/* Of every segment, the cells that are wrong, those that changed, and whether it is another right answer. */
function judged({ inputs, labels, counts }, { predictions, exact }, data) {
  const { another } = kindOf(data);
  const different = (a, b) => a.flatMap((token, i) => (counts[i] && token !== b[i] ? [i] : []));
  return {
    wrong: predictions.map((grid) => different(grid, labels)),
    changed: predictions.map((grid, t) => (t ? different(grid, predictions[t - 1]) : [])),
    another: predictions.map((grid, t) => !exact[t] && (another?.right(grid, inputs, labels, data.size) ?? false)),
  };
}

// ---------------------------------------------------------------- words

const percentOf = (chance) => `${(100 * chance).toFixed(chance > 0.001 && chance < 0.999 ? 1 : 2)}\u00a0%`;

function outcomeOf(answer, step, kind) {
  if (!step) return ["the puzzle", "none"];
  if (answer.exact[step - 1]) return ["exact", "exact"];
  return answer.another[step - 1] ? [kind.another.outcome, "another"] : ["not solved", "wrong"];
}

function describeAnswer({ counts }, answer, step, { segments }, kind) {
  if (!step) return `The puzzle, before the first of ${segments} segments.`;
  const [wrong, all] = [answer.wrong[step - 1].length, counts.filter(Boolean).length];
  const [changed, cells] = [answer.changed[step - 1].length, all === 1 ? "cell" : "cells"];
  const state = answer.exact[step - 1]
    ? "Exact"
    : answer.another[step - 1]
      ? `${kind.another.state}; ${wrong} of ${all} ${cells} differ`
      : `${wrong} of ${all} ${cells} wrong`;
  const since = step > 1 ? `, ${changed || "none"} changed since segment ${step - 1}` : "";
  return `${state}${since}. ${opinion(answer, step)}`;
}

function opinion({ halt, rival, halts }, step) {
  if (!halt) return "This model has no Q-head.";
  const first = halts.indexOf(true) + 1;
  const against = rival ? `, ${percentOf(rival[step - 1])} for going on` : "";
  const now = halts[step - 1] ? "it would stop" : "it would go on";
  const when = !first ? "It would never have stopped." : first === step ? "This is its first stop."
    : `Its first stop is after segment ${first}.`;
  return `Q-head: ${percentOf(halt[step - 1])} that this is right${against}; ${now}. ${when}`;
}

// ---------------------------------------------------------------- a viewer

/* Frames around wrong cells and corners of changed ones, each with a rim to be seen on any colour. */
function drawMarks(pen, { wrong, changed, size: [, columns], layers }) {
  const { context, colours } = pen;
  const cellOf = (i) => [Math.floor(i / columns), i % columns];
  for (const i of layers.wrong ? wrong : []) {
    const [x, y, w, h] = box(pen, cellOf(i));
    const thick = Math.max(1.5, Math.min(3, 0.11 * w));
    for (const [colour, inset, width] of [["paper", thick + 1, 1.5], ["collision", 0.5 + thick / 2, thick]]) {
      context.strokeStyle = colours[colour];
      context.lineWidth = width;
      context.strokeRect(x + inset, y + inset, w - 2 * inset, h - 2 * inset);
    }
  }
  for (const i of layers.changed ? changed : []) {
    const [x, y, w] = box(pen, cellOf(i));
    const side = Math.max(5, Math.min(0.34 * w, 14));
    context.beginPath();
    context.moveTo(x + w - side, y + 0.5);
    context.lineTo(x + w - 0.5, y + 0.5);
    context.lineTo(x + w - 0.5, y + side);
    context.closePath();
    context.fillStyle = colours.prediction;
    context.fill();
    context.strokeStyle = colours.paper;
    context.lineWidth = 1;
    context.stroke();
  }
}

function view(root) {
  const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
  const kind = kindOf(data);
  const many = data.models.length > 1;
  const sides = many ? [data.models, [...data.models, "nothing"]] : [data.models];
  const state = { entry: 0, step: data.segments, models: many ? [0, 1] : [0], playing: null };
  const ui = buildView(root, data, kind, sides);
  let example = null; // unpacked

  /* Unpack the chosen example, and show it unless another has been chosen meanwhile. */
  async function open() {
    const chosen = state.entry;
    const found = await unpackExample(data.examples[chosen], data);
    if (chosen !== state.entry) return;
    example = found;
    show();
  }

  function show() {
    if (!example) return;
    state.step = Math.max(0, Math.min(state.step, data.segments));
    root.dataset.step = state.step;
    root.dataset.example = data.examples[state.entry].id;
    showTransport({ state, ui }, data.segments, "segment");
    const layers = Object.fromEntries(Object.entries(ui.layers).map(([name, input]) => [name, input.checked]));
    const frame = (kind.frame ?? everything)(example, data, layers);
    const scene = { ...example, size: data.size, layers, wrong: new Set(), changed: [] };
    showGiven(ui.puzzle, { ...scene, grid: example.inputs, counts: example.inputs.map(() => true) }, frame);
    showGiven(ui.label, { ...scene, grid: example.labels }, frame);
    ui.views.forEach((shown, side) => showAnswer(shown, state.models[side], scene, frame));
  }

  function showGiven(canvas, scene, frame) {
    const pen = takeGridPen(canvas, frame, kind.mark ?? 0);
    if (pen) kind.draw(pen, scene);
  }

  function showAnswer(shown, model, scene, frame) {
    const answer = example.answers[model];
    shown.model.value = model;
    shown.body.hidden = !answer; // "nothing" was chosen
    shown.root.classList.toggle("empty", !answer);
    if (!answer) return;
    const { step } = state;
    const [result, outcome] = outcomeOf(answer, step, kind);
    shown.outcome.textContent = result;
    shown.outcome.dataset.outcome = outcome;
    const text = describeAnswer(example, answer, step, data, kind);
    shown.state.textContent = text;
    shown.canvas.setAttribute("aria-label", `${data.models[model]}, segment ${step}: ${text}`);
    const pen = takeGridPen(shown.canvas, frame, kind.mark ?? 0);
    if (!pen) return;
    const t = step - 1;
    const marks = step ? { wrong: new Set(answer.wrong[t]), changed: answer.changed[t] } : {};
    const drawn = { ...scene, ...marks, grid: step ? answer.predictions[t] : example.inputs };
    if (!step) drawn.counts = example.inputs.map(() => true);
    kind.draw(pen, drawn);
    drawMarks(pen, drawn);
    shown.strip.innerHTML = strip(answer, step, data.segments, data.trained[model], shown.canvas.clientWidth);
  }

  const go = drive(root, {
    state, ui, show,
    count: data.examples.length,
    ready: () => example !== null,
    last: () => data.segments,
    chosen: open,
  });
  ui.views.forEach((shown) => shown.strip.addEventListener("click", (event) => {
    const { left, width } = shown.strip.getBoundingClientRect();
    const segment = segmentAt(event.clientX - left, width, data.segments);
    if (segment > 0) go(segment);
  }));
  const addressed = readAddress(data.examples, [sides[0], sides[1] ?? []], state, "example", "segment");
  open();
  if (addressed) root.focus(); // which scrolls there
}

function buildView(root, data, kind, sides) {
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  const solved = (answer) => (answer.exact.endsWith("1") ? "exact" : "not solved");
  const named = (entry) =>
    `${entry.id}: ${data.models.map((name, m) => `${name} ${solved(entry.answers[m])}`).join(", ")}`;
  const picture = (label) => make("canvas", { role: "img", "aria-label": label });
  const ui = {
    entry: choice("Example", data.examples.map(named)),
    play: make("button", { type: "button" }, "Play"),
    scrubber: make("input", { type: "range", class: "scrubber", min: 0, step: 1, "aria-label": "Segment" }),
    counter: make("output", { class: "counter" }),
    speed: choice("Speed", SPEEDS.map((speed) => `${speed} segments/s`)),
    layers: {},
    puzzle: picture(`The puzzle, ${data.size[0]} by ${data.size[1]} cells`),
    label: picture("The right answer"),
    views: sides.map((names) => ({
      model: choice("Model", names),
      outcome: make("span", { class: "outcome" }),
      canvas: make("canvas", { role: "img" }),
      strip: make("div", { class: "strip" }),
      state: make("p", { class: "state" }),
    })),
  };
  ui.speed.value = 1;
  const switches = { wrong: "wrong cells", changed: "changed cells", ...kind.layers };
  const boxes = Object.entries(switches).map(([name, text]) => {
    ui.layers[name] = make("input", { type: "checkbox", ...(kind.layers && name in kind.layers ? {} : { checked: "" }) });
    return make("label", {}, ui.layers[name], ` ${text}`);
  });
  const views = ui.views.map((shown) => {
    shown.body = make("div", {}, shown.canvas, shown.strip, shown.state);
    shown.root = make("div", { class: "view" }, make("header", {}, shown.model, shown.outcome), shown.body);
    return shown.root;
  });
  const given = [["Puzzle", ui.puzzle], ["Right answer", ui.label]].map(([title, canvas]) =>
    make("figure", {}, make("figcaption", {}, title), canvas));
  const asked = data.examples.some((entry) => entry.answers.some((answer) => answer.halt)); // any Q-head
  root.append(
    make("div", { class: "tools" }, make("label", {}, "Example ", ui.entry), ...boxes),
    make("div", { class: "tools" }, ui.play, ui.scrubber, ui.counter, make("label", {}, "Speed ", ui.speed)),
    make("div", { class: "views" }, make("div", { class: "given" }, ...given), ...views),
    legend([...kind.legend, ...MARKS, ...(asked ? OPINION : [])], data),
    keys("segment", "example"),
  );
  return ui;
}

document.querySelectorAll(".player.puzzles").forEach(view);

/* Answers to puzzles as they form, segment by segment. Data: puzzle_traces.packed of
   hrm_jax/reporting/puzzle_traces.py. A viewer is one element .player.puzzles; its step 0 is the puzzle itself,
   step t the answer after t segments. A grid is a flat list of tokens, in rows. */

const CHANCE = 10000; // chances come in so many parts
const [PAD, EOS] = [0, 1];
const [BLANK, WALL, FREE, START, GOAL, ROUTE] = [1, 1, 2, 3, 4, 5];
const FIRST_COLOUR = 2; // the token of ARC's colour 0
const ARC_COLOURS = ["#000000", "#1e74d9", "#f93c31", "#3fae2a", "#ffdc00", "#999999", "#e53aa3", "#ff851b",
  "#87d8f1", "#921231"];
const [LIGHT_INK, DARK_INK] = ["#ffffff", "#000000"]; // on those colours
const INK_ON = [0, 1, 2, 6, 9];                       // which of them want light ink
const LEGIBLE = 9; // pixels a cell from which text is written in it
const UNCOUNTED = 0.25; // opacity of cells whose label does not count
const STRIP = { left: 58, top: 14, bottom: 66, numbers: 82, results: 100, height: 107 }; // pixels

const MARKS = [
  ["wrong cell", '<path d="M9 2h12v12h-12z" fill="none" stroke="var(--collision)" stroke-width="2"/>'],
  ["changed since the last segment", '<path d="M9.5 2.5h11v11h-11z" fill="none" stroke="var(--rule-strong)"/>' +
    '<path d="M14 2h7v7z" fill="var(--prediction)"/>'],
];
const OPINION = [
  ["Q-head: chance that the answer is right", '<path d="M9 3h12v13h-12z" fill="var(--agent)" fill-opacity=".3" ' +
    'stroke="var(--agent)"/>'],
  ["it would stop", '<path d="M9 3h12v13h-12z" fill="var(--agent)" stroke="var(--agent)"/>'],
  ["what it must exceed to stop", '<path d="M5 8h20" stroke="var(--ink)" stroke-width="2"/>'],
  ["its first stop", '<text x="15" y="12" text-anchor="middle" style="fill:var(--ink)">▼</text>'],
];

/* How each kind is drawn, what else than the label is right, further switches, and what to explain. */
const PUZZLES = {
  maze: {
    draw: drawMaze,
    another: anotherRoute,
    mark: MARK,
    layers: {},
    legend: [
      ["wall", '<path d="M9 2h12v12h-12z" fill="var(--wall)"/>'],
      ["route", '<path d="M3 8h24" stroke="var(--agent)" stroke-width="4"/><circle cx="9" cy="8" r="4" ' +
        'fill="var(--agent)"/><circle cx="21" cy="8" r="4" fill="var(--agent)"/>'],
      ["another shortest route", '<text x="15" y="13" text-anchor="middle" style="font-weight:700;font-size:14px;' +
        'fill:var(--refined)">≈</text>'],
    ],
  },
  sudoku: {
    draw: drawSudoku,
    another: () => false,
    layers: {},
    legend: [
      ["given", '<path d="M9 2h12v12h-12z" fill="var(--sunken)"/><text x="15" y="12" text-anchor="middle" ' +
        'style="font-weight:700;fill:var(--ink)">5</text>'],
      ["answered", '<text x="15" y="12" text-anchor="middle" style="fill:var(--agent)">5</text>'],
    ],
  },
  arc: {
    draw: drawColours,
    another: () => false,
    layers: { numbers: "numbers of colours", whole: "the whole frame" },
    legend: [
      ["end of the grid (EOS)", '<path d="M9 2h12v12h-12z" fill="var(--sunken)"/><circle cx="15" cy="8" r="2" ' +
        'fill="var(--rule-strong)"/>'],
      ["faint: does not count", '<path d="M9 2h12v12h-12z" fill="#1e74d9" fill-opacity=".25"/>'],
    ],
  },
  "": { draw: drawNumbers, another: () => false, layers: {}, legend: [] },
};

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
  const different = (a, b) => a.flatMap((token, i) => (counts[i] && token !== b[i] ? [i] : []));
  return {
    wrong: predictions.map((grid) => different(grid, labels)),
    changed: predictions.map((grid, t) => (t ? different(grid, predictions[t - 1]) : [])),
    another: predictions.map((grid, t) => !exact[t] && PUZZLES[data.kind].another(grid, inputs, labels, data.size)),
  };
}

/* Whether the marked cells of a maze are a route as short as the label's, and all else is as it was. */
function anotherRoute(grid, inputs, labels, [, columns]) {
  const marked = grid.flatMap((token, i) => (token === ROUTE ? [i] : []));
  const kept = grid.every((token, i) => token === inputs[i] || (token === ROUTE && inputs[i] === FREE));
  if (!kept || marked.length !== labels.filter((token) => token === ROUTE).length) return false;
  const reached = new Set([inputs.indexOf(START)]);
  for (const i of reached) { // which grows meanwhile
    for (const j of neighbours(i, columns, grid.length)) if ([ROUTE, GOAL].includes(grid[j])) reached.add(j);
  }
  return reached.has(inputs.indexOf(GOAL));
}

function neighbours(i, columns, count) {
  const column = i % columns;
  const beside = [[column > 0, i - 1], [column < columns - 1, i + 1], [i >= columns, i - columns],
    [i + columns < count, i + columns]];
  return beside.filter(([there]) => there).map(([, j]) => j);
}

/* Which part of the grid is shown: all of it, or as much as the puzzle and its label take up. */
function frameOf({ inputs, labels }, { kind, size: [rows, columns], ignored }, whole) {
  const all = { top: 0, left: 0, rows, columns };
  const taken = inputs.flatMap((token, i) => (token !== PAD || labels[i] !== PAD ? [i] : []));
  if (kind !== "arc" || whole || ignored !== PAD || !taken.length) return all;
  const [r, c] = [taken.map((i) => Math.floor(i / columns)), taken.map((i) => i % columns)];
  const [top, left] = [Math.min(...r), Math.min(...c)];
  return { top, left, rows: Math.max(...r) - top + 1, columns: Math.max(...c) - left + 1 };
}

// ---------------------------------------------------------------- drawing

/* A pen for cells (row, column) of the frame: as those of drawing.js, with the frame besides. `mark` is the
   least size of what is drawn around a cell. */
function takeGridPen(canvas, frame, mark) {
  const side = Math.max(frame.rows, frame.columns); // a square, so that all canvases of a viewer are alike
  const { context, size } = clearCanvas(canvas) ?? {};
  if (!size) return null;
  const margin = Math.max(2, 1 + (mark - size / side) / 2);
  const unit = (size - 2 * margin) / side;
  const [x, y] = [frame.columns, frame.rows].map((count) => margin + ((side - count) * unit) / 2);
  const at = ([row, column]) => [x + (column - frame.left + 0.5) * unit, y + (row - frame.top + 0.5) * unit];
  return { context, unit, at, colours: palette(canvas), frame };
}

/* Corner and size of a cell on whole pixels, without seams. */
function box({ at }, [row, column]) {
  const [left, top] = at([row - 0.5, column - 0.5]).map(Math.round);
  const [right, bottom] = at([row + 0.5, column + 0.5]).map(Math.round);
  return [left, top, right - left, bottom - top];
}

/* Calls act(token, place in the list, cell) for all cells of the frame. */
function everyCell({ frame: { top, left, rows, columns } }, grid, [, width], act) {
  for (let row = top; row < top + rows; row++) {
    for (let column = left; column < left + columns; column++) {
      act(grid[row * width + column], row * width + column, [row, column]);
    }
  }
}

function fill(pen, cell, colour) {
  pen.context.fillStyle = colour;
  pen.context.fillRect(...box(pen, cell));
}

/* Lines between the cells, every so many rows and columns. */
function rules(pen, down, across, colour, width) {
  const { context, at, frame: { top, left, rows, columns } } = pen;
  const [x1, y1] = at([top - 0.5, left - 0.5]);
  const [x2, y2] = at([top + rows - 0.5, left + columns - 0.5]);
  context.strokeStyle = pen.colours[colour];
  context.lineWidth = width;
  context.beginPath();
  for (let row = 0; row <= rows; row += down) {
    const y = at([top + row - 0.5, left])[1];
    line(context, x1, y, x2, y);
  }
  for (let column = 0; column <= columns; column += across) {
    const x = at([top, left + column - 0.5])[0];
    line(context, x, y1, x, y2);
  }
  context.stroke();
}

function say(pen, cell, text, colour = "ink", weight = 400, share = 0.58) {
  if (pen.unit >= LEGIBLE) write(pen, text, pen.at(cell), share * pen.unit, colour, weight);
}

function drawMaze(pen, { grid, size }) {
  const [, width] = size;
  const onRoute = (i) => [ROUTE, START, GOAL].includes(grid[i]);
  everyCell(pen, grid, size, (token, i, cell) => fill(pen, cell, pen.colours[token === WALL ? "wall" : "paper"]));
  if (pen.unit >= 6) rules(pen, 1, 1, "rule", 1);
  const known = [WALL, FREE, START, GOAL, ROUTE];
  everyCell(pen, grid, size, (token, i, cell) => {
    const [row, column] = cell;
    const links = [[column + 1 < width && i + 1, [row, column + 1]], [i + width, [row + 1, column]]];
    for (const [j, next] of links) {
      if (!j || !onRoute(i) || !onRoute(j) || (token !== ROUTE && grid[j] !== ROUTE)) continue;
      drawPath(pen, [cell, next], { colour: "agent", width: 0.3 });
    }
    if (token === ROUTE) disc(pen, cell, 0.28, pen.colours.agent);
    if (!known.includes(token)) say(pen, cell, "?");
  });
  everyCell(pen, grid, size, (token, i, cell) => {
    if (token !== START && token !== GOAL) return;
    fill(pen, cell, pen.colours.paper); // the route ends at the letter
    drawEnd(pen, cell, token === START ? "S" : "G");
  });
  rules(pen, size[0], size[1], "rule-strong", 1);
}

function drawSudoku(pen, { grid, inputs, wrong, size }) {
  everyCell(pen, grid, size, (token, i, cell) => {
    const given = inputs[i] !== BLANK;
    fill(pen, cell, pen.colours[given ? "sunken" : "paper"]);
    const text = token === BLANK ? "" : token === PAD ? "?" : token - 1;
    if (given && token === inputs[i]) say(pen, cell, text, "ink", 700);
    else say(pen, cell, text, wrong.has(i) ? "collision" : "agent");
  });
  rules(pen, 1, 1, "rule-strong", 1);
  const down = Math.max(...[...Array(size[0]).keys()].filter((n) => n && n * n <= size[0] && size[0] % n === 0));
  if (down > 1) rules(pen, down, size[0] / down, "ink", 2);
  rules(pen, size[0], size[1], "ink", 2);
}

function drawColours(pen, { grid, counts, size, layers }) {
  everyCell(pen, grid, size, (token, i, cell) => {
    pen.context.globalAlpha = counts[i] ? 1 : UNCOUNTED;
    const colour = ARC_COLOURS[token - FIRST_COLOUR];
    fill(pen, cell, token < FIRST_COLOUR ? pen.colours.sunken : colour ?? pen.colours.paper);
    if (token === EOS) disc(pen, cell, 0.1, pen.colours["rule-strong"]);
  });
  pen.context.globalAlpha = 1;
  if (pen.unit >= 5) rules(pen, 1, 1, "rule-strong", 0.5);
  if (!layers.numbers || pen.unit < LEGIBLE) return;
  everyCell(pen, grid, size, (token, i, cell) => {
    if (token < FIRST_COLOUR) return;
    const colour = token - FIRST_COLOUR;
    const bright = INK_ON.includes(colour) ? LIGHT_INK : DARK_INK;
    const on = counts[i] ? bright : pen.colours["ink-soft"];
    write({ ...pen, colours: { on } }, colour, pen.at(cell), Math.max(SMALLEST_TEXT, 0.5 * pen.unit), "on");
  });
}

function drawNumbers(pen, { grid, size }) {
  everyCell(pen, grid, size, (token, i, cell) => {
    fill(pen, cell, pen.colours.paper);
    say(pen, cell, token, "ink", 400, 0.45);
  });
  rules(pen, 1, 1, "rule", 1);
  rules(pen, size[0], size[1], "rule-strong", 1);
}

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

// ---------------------------------------------------------------- what the Q-head thinks

/* Bars of its chance that the answer is right, what each must exceed for a stop, and what came of it: SVG. */
function strip(answer, step, segments, trained, width) {
  const column = (width - STRIP.left - 2) / segments;
  const x = (t) => STRIP.left + t * column; // the left edge of segment t + 1
  const parts = [step ? rect("now", x(step - 1), 2, column, STRIP.height - 2) : "",
    answer.halt ? stripAxis(width) : words("This model has no Q-head.", STRIP.left, 45, "start")];
  const first = answer.halts.indexOf(true);
  for (let t = 0; t < segments && answer.halt; t++) parts.push(bar(answer, t, x(t) + column / 2, column, t === first));
  parts.push(stripNumbers(answer, segments, column, (t) => Math.min(x(t) + column / 2, width - 8)));
  if (trained && trained < segments) parts.push(stripTrained(x(trained), trained > segments / 2));
  const size = `viewBox="0 0 ${width} ${STRIP.height}" width="${width}" height="${STRIP.height}"`;
  return `<svg ${size} aria-hidden="true">${parts.join("")}</svg>`;
}

const level = (chance) => STRIP.bottom - chance * (STRIP.bottom - STRIP.top);

const rect = (css, x, y, width, height) => `<rect class="${css}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" ` +
  `width="${width.toFixed(1)}" height="${height.toFixed(1)}"/>`;

const stroke = (css, x1, y1, x2, y2) => `<line class="${css}" x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" ` +
  `x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"/>`;

const words = (content, x, y, anchor = "middle", css = "") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" class="${css}">${content}</text>`;

function stripAxis(width) {
  return [0, 0.5, 1].map((chance) => stroke("grid", STRIP.left, level(chance), width - 2, level(chance)) +
    words(`${100 * chance} %`, STRIP.left - 5, level(chance) + 4, "end")).join("");
}

/* One segment's bar around x = `middle`, full where it would stop. */
function bar(answer, t, middle, column, first) {
  const half = Math.min(column * 0.36, 14);
  const [top, bound] = [level(answer.halt[t]), level(answer.rival ? answer.rival[t] : 0.5)];
  const high = Math.max(STRIP.bottom - top, 1);
  return rect(answer.halts[t] ? "stops" : "goes", middle - half, STRIP.bottom - high, 2 * half, high) +
    stroke("rival", middle - half - 2, bound, middle + half + 2, bound) +
    (first ? words("▼", middle, Math.min(top, bound) - 3, "middle", "first") : "");
}

/* Two rows below the bars: the segments, and how many cells are wrong or a sign that it is solved. */
function stripNumbers(answer, segments, column, at) {
  const digits = Math.max(...answer.wrong.map((cells) => String(cells.length).length));
  const [every, sparse] = [Math.ceil(18 / column), Math.ceil((6.5 * digits + 5) / column)]; // segments to a number
  const parts = [words("segment", STRIP.left - 5, STRIP.numbers, "end"),
    words("wrong", STRIP.left - 5, STRIP.results, "end")];
  for (let t = 0; t < segments; t++) {
    const sign = answer.exact[t] ? "✓" : answer.another[t] ? "≈" : answer.wrong[t].length;
    if ((t + 1) % every === 0 || t === 0) parts.push(words(t + 1, at(t), STRIP.numbers));
    if ((t + 1) % sparse) continue;
    parts.push(words(sign, at(t), STRIP.results, "middle", typeof sign === "string" ? "right" : ""));
  }
  return parts.join("");
}

const stripTrained = (x, right) => stroke("reference", x, 4, x, STRIP.height) +
  words("trained", x + (right ? -3 : 3), 10, right ? "end" : "start");

/* Which segment a point of the strip belongs to. */
const segmentAt = (x, width, segments) => 1 + Math.floor(((x - STRIP.left) * segments) / (width - STRIP.left - 2));

// ---------------------------------------------------------------- words

const percentOf = (chance) => `${(100 * chance).toFixed(chance > 0.001 && chance < 0.999 ? 1 : 2)}\u00a0%`;

function outcomeOf(answer, step) {
  if (!step) return ["the puzzle", "none"];
  if (answer.exact[step - 1]) return ["exact", "exact"];
  return answer.another[step - 1] ? ["another shortest route", "another"] : ["not solved", "wrong"];
}

function describeAnswer({ counts }, answer, step, { segments }) {
  if (!step) return `The puzzle, before the first of ${segments} segments.`;
  const [wrong, all] = [answer.wrong[step - 1].length, counts.filter(Boolean).length];
  const [changed, cells] = [answer.changed[step - 1].length, all === 1 ? "cell" : "cells"];
  const state = answer.exact[step - 1]
    ? "Exact"
    : answer.another[step - 1]
      ? `Another route as short as the label's; ${wrong} of ${all} ${cells} differ`
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

function view(root) {
  const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
  const kind = PUZZLES[data.kind];
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
    const frame = frameOf(example, data, layers.whole);
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
    const [result, outcome] = outcomeOf(answer, step);
    shown.outcome.textContent = result;
    shown.outcome.dataset.outcome = outcome;
    const text = describeAnswer(example, answer, step, data);
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
    ui.layers[name] = make("input", { type: "checkbox", ...(name in kind.layers ? {} : { checked: "" }) });
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

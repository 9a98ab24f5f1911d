/* Answers to puzzles as they form, segment by segment. A viewer is one element .player.puzzles; its step 0 is the
   puzzle itself, step t the answer after t segments. */

const MARKS = [
  ["wrong cell", '<path d="M9 2h12v12h-12z" fill="none" stroke="var(--collision)" stroke-width="2"/>'],
  ["changed since the last segment", '<path d="M9.5 2.5h11v11h-11z" fill="none" stroke="var(--rule-strong)"/>' +
    '<path d="M14 2h7v7z" fill="var(--prediction)"/>'],
];

const kindOf = (data) => PUZZLES[data.kind] ?? PUZZLES[""];

const anotherOf = (kind) => kind.another ?? { outcome: "another right answer", state: "Another right answer" };

const everything = (example, { size: [rows, columns] }) => ({ top: 0, left: 0, rows, columns });

// ---------------------------------------------------------------- data

/* Of every segment, the cells that are wrong and those that changed. */
function judged({ labels, counts }, { predictions }) {
  const different = (a, b) => a.flatMap((token, i) => (counts[i] && token !== b[i] ? [i] : []));
  return {
    wrong: predictions.map((grid) => different(grid, labels)),
    changed: predictions.map((grid, t) => (t ? different(grid, predictions[t - 1]) : [])),
  };
}

// ---------------------------------------------------------------- words

const percentOf = (chance) => `${(100 * chance).toFixed(chance > 0.001 && chance < 0.999 ? 1 : 2)}\u00a0%`;

function outcomeOf({ answer, step }, kind) {
  if (!step) return ["the puzzle", "none"];
  if (answer.exact[step - 1]) return ["exact", "exact"];
  return answer.another[step - 1] ? [anotherOf(kind).outcome, "another"] : ["not solved", "wrong"];
}

function describeAnswer({ counts, answer, step }, { segments }, kind) {
  if (!step) return `The puzzle, before the first of ${segments} segments.`;
  const [wrong, all] = [answer.wrong[step - 1].length, counts.filter(Boolean).length];
  const [changed, cells] = [answer.changed[step - 1].length, all === 1 ? "cell" : "cells"];
  const state = answer.exact[step - 1]
    ? "Exact"
    : answer.another[step - 1]
      ? `${anotherOf(kind).state}; ${wrong} of ${all} ${cells} differ`
      : `${wrong} of ${all} ${cells} wrong`;
  const since = step > 1 ? `, ${changed || "none"} changed since segment ${step - 1}` : "";
  return `${state}${since}. ${opinion(answer, step)}`;
}

/* When an answer became right for good, if it did. */
function history(name, { exact, another, wrong }, kind) {
  const right = exact.map((one, t) => one || another[t]);
  const since = right.lastIndexOf(0) + 1;
  if (since < right.length) {
    const what = exact.at(-1) ? "the right answer" : anotherOf(kind).outcome;
    return `${name} has ${what} from segment ${since + 1} on.`;
  }
  const lost = right.includes(1) ? `, though it had it after segment ${right.indexOf(1) + 1}` : "";
  const cells = wrong.at(-1).length === 1 ? "cell is" : "cells are";
  return `${name} ends without the right answer${lost}: ${wrong.at(-1).length} ${cells} wrong.`;
}

function opinion({ halt, rival, halts }, step) {
  if (!halt) return "This model has no Q-head.";
  const first = halts.indexOf(1) + 1;
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

/* What a canvas shows: a grid, with the marks that it may bear. */
function drawScene(canvas, scene, data, kind) {
  const frame = (kind.frame ?? everything)(scene, data, scene.layers);
  const pen = takeGridPen(canvas, frame, kind.mark ?? 0);
  if (!pen) return;
  kind.draw(pen, scene);
  drawMarks(pen, scene);
}

/* Pictures of a puzzle and of its right answer: their elements, and what draws them. */
function givenPictures(data, kind) {
  const pictures = [["Puzzle", `The puzzle, ${data.size.join(" by ")} cells`], ["Right answer", "The right answer"]]
    .map(([title, label]) => [title, make("canvas", { role: "img", "aria-label": label })]);
  const figures = pictures.map(([title, canvas]) => make("figure", {}, make("figcaption", {}, title), canvas));
  const show = (...scenes) => scenes.forEach((scene, i) => drawScene(pictures[i][1], scene, data, kind));
  return { elements: [make("div", { class: "given" }, ...figures)], show };
}

function viewAnswers(root) {
  const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
  const { models, segments, size } = data;
  const kind = kindOf(data);
  const given = givenPictures(data, kind);
  const asked = data.examples.some(({ answers }) => answers.some((answer) => answer.halt)); // any Q-head
  const solved = (answer) => (answer.exact.at(-1) ? "exact" : "not solved");
  const label = (example, layers) =>
    ({ ...example, size, layers, grid: example.labels, wrong: new Set(), changed: [] });
  const puzzle = (example, layers) =>
    ({ ...label(example, layers), grid: example.inputs, counts: example.inputs.map(() => true) });

  const { ui, go } = start(root, {
    entry: "example",
    step: "segment",
    entries: data.examples,
    named: ({ answers }) => models.map((name, m) => `${name} ${solved(answers[m])}`),
    models: models.length > 1 ? [models, [...models, "nothing"]] : [models],
    layers: { wrong: "wrong cells", changed: "changed cells", ...kind.layers },
    off: Object.keys(kind.layers ?? {}),
    legend: [...kind.legend, ...MARKS, ...(asked ? OPINION : [])],
    given: given.elements,
    opening: data.opening,
    first: () => Math.min(1, segments),
    story: ({ answers }, seen) =>
      seen.flatMap((m) => (answers[m] ? [history(models[m], answers[m], kind)] : [])).join(" "),
    speed: 1,
    prepare(example) {
      example.counts = example.labels.map((token) => token !== data.ignored);
      example.answers.forEach((answer) => Object.assign(answer, judged(example, answer)));
    },
    last: () => segments,
    show: (example, layers) => given.show(puzzle(example, layers), label(example, layers)),
    scene(example, model, step, layers) {
      const answer = example.answers[model];
      if (!answer) return null; // "nothing" was chosen
      const about = { answer, step, trained: data.trained[model] };
      if (!step) return { ...puzzle(example, layers), ...about };
      const [grid, wrong, changed] = [answer.predictions, answer.wrong, answer.changed].map((all) => all[step - 1]);
      return { ...label(example, layers), ...about, grid, wrong: new Set(wrong), changed };
    },
    outcome: (scene) => outcomeOf(scene, kind),
    describe: (scene) => describeAnswer(scene, data, kind),
    draw(view, scene) {
      drawScene(view.canvas, scene, data, kind);
      const width = view.canvas.clientWidth;
      if (width) view.strip.innerHTML = strip(scene.answer, scene.step, segments, scene.trained, width);
    },
  });
  ui.views.forEach((view) => view.strip.addEventListener("click", (event) => {
    const { left, width } = view.strip.firstElementChild.getBoundingClientRect(); // as it was drawn
    const segment = segmentAt(event.clientX - left, width, segments);
    if (segment > 0) go(segment);
  }));
}

document.querySelectorAll(".player.puzzles").forEach(viewAnswers);

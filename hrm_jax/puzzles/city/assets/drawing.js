/* Cities on a canvas. A pen is {context, unit, colours, size}: pixels a cell, the page's colours, cells a side. */

const GROUND = { [BUILDING]: "building", [SMALL]: "small", [LARGE]: "large", [DIAGONAL]: "diagonal" };
const NAMES = ["paper", "ink", "ink-soft", "rule", "rule-strong", ...Object.values(GROUND), "jam", "wrong", "right",
  ...VEHICLES];
const LETTERS = ["?", "B", "C", "V", "T"]; // of the vehicles, by identifier
const DASHES = [[], [], [1, 0.5], [0.05, 0.45], [0.9, 0.4, 0.05, 0.4]]; // cells
const [MARGIN, LEGIBLE] = [1.5, 9]; // pixels

function takePen(canvas, size) {
  const ratio = window.devicePixelRatio || 1;
  const side = canvas.clientWidth;
  canvas.width = canvas.height = Math.round(side * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.translate(MARGIN, MARGIN);
  const style = getComputedStyle(canvas);
  const colours = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { context, unit: (side - 2 * MARGIN) / size, colours, size };
}

/* The middle of a cell, in pixels. */
const middle = ({ unit, size }, cell) => [((cell % size) + 0.5) * unit, (Math.floor(cell / size) + 0.5) * unit];

function paintCell({ context, unit, size, colours }, cell, colour) {
  const [x, y] = [Math.round((cell % size) * unit), Math.round(Math.floor(cell / size) * unit)];
  context.fillStyle = colours[colour];
  context.fillRect(x, y, Math.round((cell % size + 1) * unit) - x, Math.round((Math.floor(cell / size) + 1) * unit) - y);
}

/* Lines between points that are given in cells around the middle of one. */
function scratch({ context, unit, colours, ...pen }, cell, lines, colour, width = 0.14) {
  const [x, y] = middle({ unit, ...pen }, cell);
  context.strokeStyle = colours[colour];
  context.lineWidth = Math.max(1, width * unit);
  context.lineCap = "butt";
  context.beginPath();
  for (const [a, b, c, d] of lines) {
    context.moveTo(x + a * unit, y + b * unit);
    context.lineTo(x + c * unit, y + d * unit);
  }
  context.stroke();
}

/* Streets and traffic: jams are two bars, closures crosses, start and end lettered boxes. */
function drawGround(pen, grid) {
  const { context, unit, colours, size } = pen;
  grid.forEach((token, cell) => {
    const road = FREED[token] ?? ([START, GOAL].includes(token) ? LARGE : token);
    paintCell(pen, cell, GROUND[road] ?? "large");
    if (token in FREED) scratch(pen, cell, [[-0.18, -0.3, -0.18, 0.3], [0.18, -0.3, 0.18, 0.3]], "jam");
    if (token === CLOSURE) scratch(pen, cell, [[-0.32, -0.32, 0.32, 0.32], [-0.32, 0.32, 0.32, -0.32]], "wrong", 0.18);
  });
  if (unit >= 6) drawLines(pen);
  context.strokeStyle = colours["rule-strong"];
  context.lineWidth = 1;
  context.strokeRect(0, 0, size * unit, size * unit);
}

function drawLines({ context, unit, colours, size }) {
  context.strokeStyle = colours.rule;
  context.lineWidth = 0.5;
  context.beginPath();
  for (let k = 1; k < size; k++) {
    context.moveTo(k * unit, 0);
    context.lineTo(k * unit, size * unit);
    context.moveTo(0, k * unit);
    context.lineTo(size * unit, k * unit);
  }
  context.stroke();
}

/* A letter in a box, or in a disc. */
function drawLetter({ context, unit, colours, ...pen }, cell, letter, colour, round = false) {
  const [x, y] = middle({ unit, ...pen }, cell);
  const half = Math.max(unit / 2, 7);
  context.beginPath();
  if (round) context.arc(x, y, half, 0, 2 * Math.PI);
  else context.rect(x - half, y - half, 2 * half, 2 * half);
  context.fillStyle = colours[round ? colour : "paper"];
  context.fill();
  context.strokeStyle = colours[round ? "paper" : colour];
  context.lineWidth = 1.5;
  context.setLineDash([]);
  context.stroke();
  writeIn({ context, colours }, x, y, letter, round ? "paper" : colour, 1.45 * half);
}

function writeIn({ context, colours }, x, y, letter, colour, pixels, rim = null) {
  context.fillStyle = colours[colour];
  context.font = `700 ${pixels}px system-ui, "Liberation Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  if (rim) {
    [context.strokeStyle, context.lineWidth, context.lineJoin] = [colours[rim], pixels / 3, "round"];
    context.strokeText(letter, x, y + pixels / 16);
  }
  context.fillText(letter, x, y + pixels / 16);
}

function drawEnds(pen, grid) {
  for (const [token, letter] of [[START, "S"], [GOAL, "G"]]) {
    const cell = grid.indexOf(token);
    if (cell >= 0) drawLetter(pen, cell, letter, "ink");
  }
}

/* A route as a line of its vehicle's colour and dashes; `shift` in cells keeps those of one street apart. */
function drawRoute(pen, cells, vehicle, { shift = 0, width = 0.3 } = {}) {
  const { context, unit, colours } = pen;
  const trace = (colour, more) => {
    context.strokeStyle = colours[colour];
    context.lineWidth = Math.max(2, width * unit) + more;
    context.beginPath();
    cells.forEach((cell, i) => {
      const [x, y] = middle(pen, cell);
      context[i ? "lineTo" : "moveTo"](x + shift * unit, y + shift * unit);
    });
    context.stroke();
  };
  context.lineJoin = context.lineCap = "round";
  context.setLineDash([]);
  if (!shift) trace("paper", 3);
  context.setLineDash(DASHES[vehicle].map((dash) => dash * Math.max(unit, 8)));
  trace(VEHICLES[vehicle - 1] ?? "ink", 0);
  context.setLineDash([]);
}

/* All routes on one map, and a letter on each at a place of its own. */
function drawRoutes(pen, routes) {
  const shown = routes.map((cells, i) => [cells, i + 1]);
  shown.forEach(([cells, vehicle], i) => drawRoute(pen, cells, vehicle, { shift: 0.22 * (i - 1.5), width: 0.2 }));
  shown.forEach(([cells, vehicle], i) => {
    const others = routes.filter((other) => other !== cells);
    const own = cells.slice(2, -2).filter((cell) => !others.some((other) => other.includes(cell)));
    const place = own.length ? own[own.length >> 1] : cells[Math.round(((i + 1) * cells.length) / 5)];
    drawLetter(pen, place, LETTERS[vehicle], VEHICLES[vehicle - 1], true);
  });
}

/* How a line of a vehicle looks, as SVG. */
const sample = (vehicle) => `<svg viewBox="0 0 44 16" aria-hidden="true"><path d="M3 8h22" fill="none" ` +
  `stroke="var(--${VEHICLES[vehicle - 1]})" stroke-width="3" stroke-linecap="round" ` +
  `stroke-dasharray="${DASHES[vehicle].map((dash) => dash * 9).join(" ")}"/><circle cx="35" cy="8" r="7.5" ` +
  `fill="var(--${VEHICLES[vehicle - 1]})"/><text x="35" y="12" text-anchor="middle" font-size="11" ` +
  `font-weight="700" fill="var(--paper)">${LETTERS[vehicle]}</text></svg>`;

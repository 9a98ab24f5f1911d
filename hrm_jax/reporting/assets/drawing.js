/* What both kinds of episodes are drawn with. Positions are (row, column) in cells, rows down; a `pen` is
   {context, unit, at, colours}: a canvas, pixels a cell, cells to pixels, and the page's colours. */

const NUMBERS = 18; // pixels for the numbers of rows and columns
const BEYOND = 1; // cells that obstacles go beyond the centre of the last cell, at most
const [MARK, SMALLEST_TEXT] = [14, 7]; // pixels: what a mark takes at least, and text
const FAINT = 0.22; // opacity of tracks that stay away from the plan
const DOT_EVERY = 5; // steps between two dots on a track
const FINE = 12; // pixels a cell below which only every eighth line is drawn

// Entries of both legends.
const OBSTACLE_ENTRY = ["obstacle, collision radius", '<circle cx="15" cy="8" r="7" fill="var(--obstacle)" ' +
  'fill-opacity=".22" stroke="var(--obstacle)" stroke-width="1.5"/>'];
const MAP_ENTRIES = [
  ["static cell", '<path d="M9 2h12v12h-12z" fill="var(--wall)"/>'],
  ["start, goal", '<path d="M1 1.5h13v13h-13zM16 1.5h13v13h-13z" fill="none" stroke="var(--ink)" stroke-width="1.5"/>' +
    '<text class="name" x="7.5" y="12" text-anchor="middle">S</text>' +
    '<text class="name" x="22.5" y="12" text-anchor="middle">G</text>'],
];
const COLLISION_ENTRY = ["moment of collision", '<circle cx="15" cy="8" r="7" fill="none" stroke="var(--collision)" ' +
  'stroke-width="2"/><path d="M11 4l8 8M11 12l8 -8" stroke="var(--collision)" stroke-width="2"/>'];

function palette(element) {
  const style = getComputedStyle(element);
  const names = ["paper", "sunken", "ink", "ink-soft", "rule", "rule-strong", "agent", "obstacle", "prediction",
    "collision", "wall", "sample", "refined"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/* The canvas's context and width in pixels, cleared, its height `aspect` times that; null while off the screen. */
function clearCanvas(canvas, aspect = 1) {
  const ratio = window.devicePixelRatio || 1;
  const size = canvas.clientWidth;
  if (!size) return null;
  canvas.width = Math.round(size * ratio);
  canvas.height = Math.round(size * aspect * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, size };
}

/* A pen for the canvas, cleared; null while off the screen. Its `frame`, [left, top, right, bottom] in pixels, has
   room for discs of `radius` wherever obstacles may be. */
function takePen(canvas, map, radius) {
  const { context, size } = clearCanvas(canvas) ?? {};
  if (!size) return null;
  const around = Math.max(0.5, radius + 0.15);
  const [rows, columns] = [map.length, map[0].length];
  const unit = (size - NUMBERS - 1) / (Math.max(rows, columns) - 1 + BEYOND + 2 * around);
  const at = ([row, column]) => [NUMBERS + (column + around) * unit, NUMBERS + (row + around) * unit];
  const frame = [...at([-around, -around]), ...at([rows - 1 + BEYOND + around, columns - 1 + BEYOND + around])];
  return { context, unit, at, frame, colours: palette(canvas) };
}

/* Whether an obstacle is there: recorded ones come and go, and files keep that as a place far off. */
const there = (place) => Boolean(place) && place.every((x) => Number.isFinite(x) && x > -300);

/* The map in its frame, outside of which nothing is drawn from then on. */
function drawMap(pen, map) {
  const { context, unit, at, frame, colours } = pen;
  const [rows, columns] = [map.length, map[0].length];
  const [left, top] = at([-0.5, -0.5]);
  const whole = [frame[0], frame[1], frame[2] - frame[0], frame[3] - frame[1]];
  context.fillStyle = colours.sunken;
  context.fillRect(...whole);
  context.fillStyle = colours.paper;
  context.fillRect(left, top, columns * unit, rows * unit);
  drawGrid(pen, rows, columns);
  context.fillStyle = colours.wall;
  map.forEach((row, r) => row.forEach((wall, c) => {
    if (!wall) return;
    const [x, y] = at([r - 0.5, c - 0.5]).map(Math.round); // no seams between cells
    const [right, bottom] = at([r + 0.5, c + 0.5]).map(Math.round);
    context.fillRect(x, y, right - x, bottom - y);
  }));
  context.lineWidth = 1;
  context.strokeStyle = colours["rule-strong"];
  context.strokeRect(left, top, columns * unit, rows * unit);
  context.strokeStyle = colours.rule;
  context.strokeRect(...whole);
  context.beginPath();
  context.rect(...whole);
  context.clip();
}

function drawEnds(pen, [start, goal]) {
  drawEnd(pen, start, "S");
  drawEnd(pen, goal, "G");
}

/* Lines between all cells, or through the numbered ones where cells are small; and the numbers. */
function drawGrid(pen, rows, columns) {
  const { context, unit, at, colours } = pen;
  const [left, top] = at([-0.5, -0.5]);
  const every = Math.max(rows, columns) > 40 ? 8 : 5;
  const [step, shift] = unit < FINE ? [every, 0.5] : [1, 0];
  context.strokeStyle = colours.rule;
  context.lineWidth = 1;
  context.beginPath();
  for (let k = shift; k <= columns; k += step) line(context, left + k * unit, top, left + k * unit, top + rows * unit);
  for (let k = shift; k <= rows; k += step) line(context, left, top + k * unit, left + columns * unit, top + k * unit);
  context.stroke();
  const size = Math.max(9, Math.min(12, 0.6 * unit));
  for (let k = 0; k < columns; k += every) write(pen, k, [at([0, k])[0], NUMBERS / 2], size, "ink-soft");
  for (let k = 0; k < rows; k += every) write(pen, k, [NUMBERS / 2, at([k, 0])[1]], size, "ink-soft");
}

function line(context, x1, y1, x2, y2) {
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
}

/* Text around a place, with a rim of another colour where what is below may be dark. */
function write({ context, colours }, text, [x, y], size, colour, weight = 400, rim = null) {
  context.fillStyle = colours[colour];
  context.font = `${weight} ${size}px system-ui, "Liberation Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  if (rim) {
    context.strokeStyle = colours[rim];
    context.lineWidth = 2.5;
    context.lineJoin = "round";
    context.strokeText(text, x, y);
  }
  context.fillText(text, x, y);
}

/* A lettered box around a cell, or around more where cells are too small for a letter. */
function drawEnd(pen, cell, letter) {
  const { context, unit, at, colours } = pen;
  const side = Math.max(unit - 2, MARK);
  const [x, y] = at(cell);
  context.fillStyle = colours.paper;
  if (side > unit) context.fillRect(x - side / 2, y - side / 2, side, side);
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.5;
  context.strokeRect(x - side / 2, y - side / 2, side, side);
  write(pen, letter, at(cell), 0.62 * (side + 2), "ink", 600);
}

function drawPath({ context, unit, at, colours }, points, { colour, width, dash = [], least = 1.2 }) {
  if (points.length < 2) return;
  context.save();
  context.strokeStyle = colours[colour];
  context.lineWidth = Math.max(least, width * unit);
  context.lineJoin = context.lineCap = "round";
  context.setLineDash(dash.map((d) => d * unit));
  context.beginPath();
  points.forEach((p, i) => context[i ? "lineTo" : "moveTo"](...at(p)));
  context.stroke();
  context.restore();
}

function disc({ context, unit, at }, p, radius, fill, stroke, width = 1.5, dash = []) {
  context.beginPath();
  context.arc(...at(p), radius * unit, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  if (stroke) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }
}

const gap = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/* How far places are from others, on average; null where there are none. */
function meanGap(places, others) {
  const gaps = (places ?? []).flatMap((p, n) => (there(p) && there(others[n]) ? [gap(p, others[n])] : []));
  return gaps.length ? gaps.reduce((sum, one) => sum + one, 0) / gaps.length : null;
}

/* A track [k] with a dot every five steps, drawn faintly unless any of it comes nearer than `near` to the planned
   place of the same step. Opacity stays as the track's. */
function drawTrack(pen, track, plan, near, { line, dot, opacity = 1 }) {
  pen.context.globalAlpha = track.some((p, k) => plan[k] && there(p) && gap(p, plan[k]) < near) ? opacity : FAINT;
  drawPath(pen, track.filter(there), line);
  for (let k = DOT_EVERY; k < track.length; k += DOT_EVERY) if (there(track[k])) disc(pen, track[k], ...dot);
}

function drawObstacle(pen, p, number, radius) {
  if (!there(p)) return;
  pen.context.globalAlpha = 0.22;
  disc(pen, p, radius, pen.colours.obstacle);
  pen.context.globalAlpha = 1;
  disc(pen, p, radius, null, pen.colours.obstacle);
  const text = Math.max(0.62, 0.6 * radius) * pen.unit;
  if (text >= SMALLEST_TEXT) write(pen, number, pen.at(p), text, "ink", 600, "paper");
}

function drawAgent(pen, cell) {
  disc(pen, cell, Math.max(0.36, (0.36 * MARK) / pen.unit), pen.colours.agent, pen.colours.paper, 2);
}

/* The nearest moment: the obstacle, if one was hit, as it then was, and a cross on the agent inside a ring. */
function drawContact(pen, { agent, obstacle }, radius) {
  const { context, unit, at, colours } = pen;
  if (obstacle) disc(pen, obstacle, radius, null, colours.collision, 2, [4, 3]);
  const mark = Math.max(unit, MARK); // a cell, or more where cells are small
  disc(pen, agent, (0.85 * mark) / unit, null, colours.collision, 3);
  const [x, y] = at(agent);
  const arm = 0.42 * mark;
  for (const [colour, width] of [[colours.paper, 6], [colours.collision, 3]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineCap = "round";
    context.beginPath();
    line(context, x - arm, y - arm, x + arm, y + arm);
    line(context, x - arm, y + arm, x + arm, y - arm);
    context.stroke();
  }
  const above = y > 60;
  label(pen, "collision", [x, y + (above ? -1 : 1) * (0.85 * mark + 14)]);
}

function label(pen, text, [x, y]) {
  const { context, colours, frame } = pen;
  context.font = '600 13px system-ui, "Liberation Sans", sans-serif';
  const width = context.measureText(text).width + 10;
  x = Math.max(frame[0] + width / 2, Math.min(x, frame[2] - width / 2));
  context.fillStyle = colours.collision;
  context.fillRect(x - width / 2, y - 10, width, 20);
  write(pen, text, [x, y], 13, "paper", 600);
}

// ---------------------------------------------------------------- words

/* A collision with an obstacle: `collision` of a trace, as packing.py writes it. */
function describeContact({ number, distance }, last, rule) {
  const when = last > 0 && rule.swept ? `between steps ${last - 1} and ${last}` : `in step ${last}`;
  return `Collision with obstacle ${number + 1} ${when}: ${distance.toFixed(2)} cells apart, nearer than ${rule.radius}`;
}

/* The Q-head's opinion of an answer, segment by segment, and what came of it: SVG below the answer. */

const STRIP = { left: 58, top: 14, bottom: 66, numbers: 82, results: 100, height: 107 }; // pixels

const OPINION = [
  ["Q-head: chance that the answer is right", '<path d="M9 3h12v13h-12z" fill="var(--agent)" fill-opacity=".3" ' +
    'stroke="var(--agent)"/>'],
  ["it would stop", '<path d="M9 3h12v13h-12z" fill="var(--agent)" stroke="var(--agent)"/>'],
  ["what it must exceed to stop", '<path d="M5 8h20" stroke="var(--ink)" stroke-width="2"/>'],
  ["its first stop", '<text x="15" y="12" text-anchor="middle" style="fill:var(--ink)">▼</text>'],
];

/* Bars of its chance that the answer is right, what each must exceed for a stop, and what came of it: SVG. */
function strip(answer, step, segments, trained, width) {
  const column = (width - STRIP.left - 2) / segments;
  const x = (t) => STRIP.left + t * column; // the left edge of segment t + 1
  const parts = [step ? rect("now", x(step - 1), 2, column, STRIP.height - 2) : "",
    answer.halt ? stripAxis(width) : words("This model has no Q-head.", STRIP.left, 45, "start")];
  const first = answer.halts.indexOf(1);
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

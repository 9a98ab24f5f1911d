/* ARC: colours, and their numbers where they are wanted. */

const FIRST_COLOUR = 2; // the token of ARC's colour 0
const ARC_COLOURS = ["#000000", "#1e74d9", "#f93c31", "#3fae2a", "#ffdc00", "#999999", "#e53aa3", "#ff851b",
  "#87d8f1", "#921231"];
const [LIGHT_INK, DARK_INK] = ["#ffffff", "#000000"]; // on those colours
const INK_ON = [0, 1, 2, 6, 9];                       // which of them want light ink
const UNCOUNTED = 0.25; // opacity of cells whose label does not count

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

/* As much of the frame as the puzzle and its label take up. */
function takenUp({ inputs, labels }, { size: [rows, columns], ignored }, { whole }) {
  const taken = inputs.flatMap((token, i) => (token !== PAD || labels[i] !== PAD ? [i] : []));
  if (whole || ignored !== PAD || !taken.length) return { top: 0, left: 0, rows, columns };
  const [r, c] = [taken.map((i) => Math.floor(i / columns)), taken.map((i) => i % columns)];
  const [top, left] = [Math.min(...r), Math.min(...c)];
  return { top, left, rows: Math.max(...r) - top + 1, columns: Math.max(...c) - left + 1 };
}

PUZZLES.arc = {
  draw: drawColours,
  layers: { numbers: "numbers of colours", whole: "the whole frame" },
  frame: takenUp,
  legend: [
    ["end of the grid (EOS)", '<path d="M9 2h12v12h-12z" fill="var(--sunken)"/><circle cx="15" cy="8" r="2" ' +
      'fill="var(--rule-strong)"/>'],
    ["faint: does not count", '<path d="M9 2h12v12h-12z" fill="#1e74d9" fill-opacity=".25"/>'],
  ],
};

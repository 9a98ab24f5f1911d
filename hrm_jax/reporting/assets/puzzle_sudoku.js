/* Sudokus: given digits on a dark ground, answers in colour, lines around the boxes. */

const BLANK = 1;

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

PUZZLES.sudoku = {
  draw: drawSudoku,
  legend: [
    ["given", '<path d="M9 2h12v12h-12z" fill="var(--sunken)"/><text x="15" y="12" text-anchor="middle" ' +
      'style="font-weight:700;fill:var(--ink)">5</text>'],
    ["answered", '<text x="15" y="12" text-anchor="middle" style="fill:var(--agent)">5</text>'],
  ],
};

/* Lattice mazes: walls between cells; of an answer an arrow a cell, and the way that they lead from the start. */

const LATTICE = { steps: [[-1, 0], [1, 0], [0, -1], [0, 1]], start: 1, goal: 2, arrived: 5 };
const latticeOpen = (token, move) => token > 0 && ((token - 1) >> move) & 1;
const latticeMark = (token) => (token > 0 ? (token - 1) >> 4 : 0);

/* The cells that the moves of a grid lead through from the start, until the goal, a wall or a cell come to again. */
function latticeWay(grid, inputs, width) {
  let i = inputs.findIndex((token) => latticeMark(token) === LATTICE.start);
  const way = [];
  while (i >= 0 && !way.includes(i)) {
    way.push(i);
    const step = LATTICE.steps[grid[i] - 1];
    if (latticeMark(inputs[i]) === LATTICE.goal || !step || !latticeOpen(inputs[i], grid[i] - 1)) break;
    i += step[0] * width + step[1];
  }
  return way.map((cell) => [Math.floor(cell / width), cell % width]);
}

function drawLattice(pen, { grid, inputs, size }) {
  const { context, at, colours, unit } = pen;
  const [, width] = size;
  everyCell(pen, grid, size, (token, i, cell) => fill(pen, cell, colours.paper));
  if (unit >= 6) rules(pen, 1, 1, "rule", 1);
  if (grid !== inputs) {
    context.globalAlpha = 0.4;
    drawPath(pen, latticeWay(grid, inputs, width), { colour: "sample", width: 0.5 });
    context.globalAlpha = 1;
    everyCell(pen, grid, size, (token, i, cell) => drawMove(pen, token, cell));
  }
  everyCell(pen, inputs, size, (token, i, cell) => {
    if (!latticeMark(token)) return;
    fill(pen, cell, colours.paper); // the way ends at the letter
    drawEnd(pen, cell, latticeMark(token) === LATTICE.start ? "S" : "G");
  });
  context.strokeStyle = colours.ink;
  context.lineWidth = Math.max(1, Math.min(2.5, 0.12 * unit));
  context.lineCap = "square";
  context.beginPath();
  everyCell(pen, inputs, size, (token, i, [row, column]) => {
    const [[x1, y1], [x2, y2]] = [at([row - 0.5, column - 0.5]), at([row + 0.5, column + 0.5])];
    if (!latticeOpen(token, 0)) line(context, x1, y1, x2, y1);
    if (!latticeOpen(token, 1)) line(context, x1, y2, x2, y2);
    if (!latticeOpen(token, 2)) line(context, x1, y1, x1, y2);
    if (!latticeOpen(token, 3)) line(context, x2, y1, x2, y2);
  });
  context.stroke();
}

function drawMove(pen, token, [row, column]) {
  const step = LATTICE.steps[token - 1];
  if (!step) {
    if (token !== LATTICE.arrived && token !== PAD) say(pen, [row, column], "?");
    return;
  }
  const [down, right] = step;
  const place = (along, across) => [row + along * down + across * right, column + along * right + across * down];
  const look = { colour: "agent", width: 0.09, least: 1 };
  drawPath(pen, [place(-0.26, 0), place(0.26, 0)], look);
  drawPath(pen, [place(0.08, -0.16), place(0.26, 0), place(0.08, 0.16)], look);
}

PUZZLES.lattice = {
  draw: drawLattice,
  mark: MARK,
  another: { outcome: "a shortest path", state: "From the start a shortest path" },
  legend: [
    ["wall", '<path d="M3 8h24" stroke="var(--ink)" stroke-width="2.5"/>'],
    ["move", '<path d="M8 8h14M17 3l5 5l-5 5" fill="none" stroke="var(--agent)" stroke-width="1.5"/>'],
    ["way from the start", '<path d="M3 8h24" stroke="var(--sample)" stroke-opacity=".4" ' +
      'stroke-width="7" stroke-linecap="round"/>'],
  ],
};

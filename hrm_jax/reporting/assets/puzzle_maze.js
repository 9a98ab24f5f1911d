/* Mazes: walls, the route as a line, its ends as letters. */

const [WALL, FREE, START, GOAL, ROUTE] = [1, 2, 3, 4, 5];

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

PUZZLES.maze = {
  draw: drawMaze,
  mark: MARK,
  another: { outcome: "another shortest route", state: "Another shortest route" },
  legend: [
    ["wall", '<path d="M9 2h12v12h-12z" fill="var(--wall)"/>'],
    ["route", '<path d="M3 8h24" stroke="var(--agent)" stroke-width="4"/><circle cx="9" cy="8" r="4" ' +
      'fill="var(--agent)"/><circle cx="21" cy="8" r="4" fill="var(--agent)"/>'],
    ["another shortest route", '<text x="15" y="13" text-anchor="middle" style="font-weight:700;font-size:14px;' +
      'fill:var(--refined)">≈</text>'],
  ],
};

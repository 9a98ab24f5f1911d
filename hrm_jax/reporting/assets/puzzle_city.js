/* Cities: buildings, roads by their width, jams as bars, closures as crosses, the route as a line. */

const CITY = { building: 1, small: 2, large: 3, diagonal: 4, jam: 5, closure: 6, start: 7, goal: 8, path: 9,
  jamSmall: 10, jamDiagonal: 11 };
const CITY_ROADS = { [CITY.jamSmall]: CITY.small, [CITY.jam]: CITY.large, [CITY.jamDiagonal]: CITY.diagonal };

/* What lies under a route or a letter: the road of the input, where that says it. */
const cityGround = (token, given) => {
  const shown = [PAD, CITY.path].includes(token) ? given : token;
  return CITY_ROADS[shown] ?? ([CITY.start, CITY.goal].includes(shown) ? CITY.large : shown);
};

function drawCity(pen, { grid, inputs, size }) {
  const [, width] = size;
  const ground = { [CITY.building]: "wall", [CITY.small]: "rule", [CITY.diagonal]: "sample" };
  const isEnd = (token) => token === CITY.start || token === CITY.goal;
  const onRoute = (i) => grid[i] === CITY.path || isEnd(inputs[i]);
  everyCell(pen, grid, size, (token, i, cell) => {
    fill(pen, cell, pen.colours[ground[cityGround(token, inputs[i])] ?? "paper"]);
    const seen = token === PAD ? inputs[i] : token;
    if (seen === CITY.closure) drawCross(pen, cell);
    if (CITY_ROADS[token === CITY.path ? inputs[i] : seen]) drawJam(pen, cell);
  });
  if (pen.unit >= 6) rules(pen, 1, 1, "rule", 1);
  everyCell(pen, grid, size, (token, i, cell) => {
    const [row, column] = cell;
    const links = [[column + 1 < width && i + 1, [row, column + 1]], [i + width, [row + 1, column]]];
    for (const [j, next] of links) {
      if (!j || j >= grid.length || !onRoute(i) || !onRoute(j)) continue;
      if (grid[i] !== CITY.path && grid[j] !== CITY.path) continue;
      drawPath(pen, [cell, next], { colour: "agent", width: 0.3 });
    }
    if (token === CITY.path && !isEnd(inputs[i])) disc(pen, cell, 0.28, pen.colours.agent);
    if (token > CITY.jamDiagonal) say(pen, cell, "?");
  });
  everyCell(pen, grid, size, (token, i, cell) => {
    const seen = isEnd(token) ? token : isEnd(inputs[i]) && [PAD, CITY.path].includes(token) ? inputs[i] : 0;
    if (!seen) return;
    fill(pen, cell, pen.colours.paper); // the route ends at the letter
    drawEnd(pen, cell, seen === CITY.start ? "S" : "G");
  });
  rules(pen, size[0], size[1], "rule-strong", 1);
}

function drawJam(pen, [row, column]) {
  for (const shift of [-0.2, 0.2]) {
    const ends = [[row - 0.3, column + shift], [row + 0.3, column + shift]];
    drawPath(pen, ends, { colour: "obstacle", width: 0.16, least: 1 });
  }
}

function drawCross(pen, [row, column]) {
  for (const turn of [-0.28, 0.28]) {
    const ends = [[row - 0.28, column - turn], [row + 0.28, column + turn]];
    drawPath(pen, ends, { colour: "collision", width: 0.16, least: 1 });
  }
}

PUZZLES.city = {
  draw: drawCity,
  mark: MARK,
  another: { outcome: "another cheapest route", state: "Another cheapest route" },
  legend: [
    ["building, park", '<path d="M9 2h12v12h-12z" fill="var(--wall)"/>'],
    ["large road", '<path d="M9.5 2.5h11v11h-11z" fill="var(--paper)" stroke="var(--rule-strong)"/>'],
    ["small road", '<path d="M9 2h12v12h-12z" fill="var(--rule)"/>'],
    ["diagonal", '<path d="M9 2h12v12h-12z" fill="var(--sample)"/>'],
    ["jam", '<path d="M13 4v8M17 4v8" stroke="var(--obstacle)" stroke-width="2"/>'],
    ["closed", '<path d="M11 4l8 8M19 4l-8 8" stroke="var(--collision)" stroke-width="2"/>'],
    ["route", '<path d="M3 8h24" stroke="var(--agent)" stroke-width="4"/><circle cx="9" cy="8" r="4" ' +
      'fill="var(--agent)"/><circle cx="21" cy="8" r="4" fill="var(--agent)"/>'],
  ],
};

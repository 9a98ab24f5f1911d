/* Tokens of a city, what entering them costs each vehicle, and the canonical cheapest route: as tokens.py, routes.py. */

const [PAD, BUILDING, SMALL, LARGE, DIAGONAL, JAM, CLOSURE, START, GOAL, PATH, JAM_SMALL, JAM_DIAGONAL] =
  Array(12).keys();
const VOCABULARY = 12;
const VEHICLES = ["bike", "car", "van", "truck"]; // puzzle identifiers 1 to 4; 0: the vehicle is not said
const JAMMED = { [SMALL]: JAM_SMALL, [LARGE]: JAM, [DIAGONAL]: JAM_DIAGONAL };
const FREED = { [JAM_SMALL]: SMALL, [JAM]: LARGE, [JAM_DIAGONAL]: DIAGONAL };
const NOWHERE = Infinity;

/* By puzzle identifier: the cost of entering a cell of a token. */
const COSTS = [
  [3, 1, 2, 8, 8, 8],
  [2, 2, 2, 3, 3, 3],
  [3, 1, 2, 8, 8, 8],
  [NOWHERE, 1, 2, NOWHERE, 10, 10],
  [NOWHERE, 1, NOWHERE, NOWHERE, 12, NOWHERE],
].map((costs) => {
  const all = Array(VOCABULARY).fill(NOWHERE);
  [SMALL, LARGE, DIAGONAL, JAM_SMALL, JAM, JAM_DIAGONAL].forEach((token, i) => (all[token] = costs[i]));
  all[START] = all[GOAL] = all[LARGE];
  return all;
});

/* The cells below, above, right and left of one; -1 outside. */
function neighbours(cell, size) {
  const column = cell % size;
  return [
    cell + size < size * size ? cell + size : -1,
    cell - size,
    column + 1 < size ? cell + 1 : -1,
    column ? cell - 1 : -1,
  ];
}

const entering = (grid, vehicle) => Array.from(grid, (token) => COSTS[vehicle][token] ?? NOWHERE);

/* Of every cell, the least cost of the way on to the goal, by costs of entering cells (small whole numbers). */
function toGo(cost, goal, size) {
  const left = Array(size * size).fill(NOWHERE);
  left[goal] = 0;
  const queue = [[goal]]; // cells by what is left from them
  for (let now = 0; now < queue.length; now++) {
    for (const cell of queue[now] ?? []) {
      if (left[cell] < now || cost[cell] === NOWHERE) continue;
      const next = now + cost[cell];
      for (const near of neighbours(cell, size)) {
        if (near < 0 || left[near] <= next) continue;
        left[near] = next;
        (queue[next] ??= []).push(near);
      }
    }
  }
  return left;
}

/* The canonical route as a list of cells, start and goal among them; null where there is none. */
function cheapest(grid, vehicle, size) {
  const [start, goal] = [grid.indexOf(START), grid.indexOf(GOAL)];
  const cost = entering(grid, vehicle);
  const left = toGo(cost, goal, size);
  if (left[start] === NOWHERE) return null;
  const cells = [start];
  while (cells.at(-1) !== goal) {
    const here = cells.at(-1);
    cells.push(neighbours(here, size).find((near) => near >= 0 && cost[near] + left[near] === left[here]));
  }
  return cells;
}

const costOf = (cells, grid, vehicle) => cells.slice(1).reduce((sum, cell) => sum + COSTS[vehicle][grid[cell]], 0);

/* The label: the input with the cells between the route's ends marked. */
function labelled(grid, cells) {
  const label = Uint8Array.from(grid);
  for (const cell of cells.slice(1, -1)) label[cell] = PATH;
  return label;
}

/* What an answer is worth: the cells it marks, whether they are one way, allowed throughout, and the costs.

   `kept`: nothing else is changed; of labels of the path alone, all else is 0. */
function judge(grid, answer, vehicle, size, pathOnly) {
  const isEnd = (cell) => grid[cell] === START || grid[cell] === GOAL;
  const marked = Array.from(answer, (token, cell) => token === PATH || isEnd(cell));
  const kept = answer.every((token, cell) => (isEnd(cell)
    ? token === (pathOnly ? PATH : grid[cell])
    : token === PATH || token === (pathOnly ? 0 : grid[cell])));
  const cost = entering(grid, vehicle);
  const [start, goal] = [grid.indexOf(START), grid.indexOf(GOAL)];
  const paid = cost.reduce((sum, price, cell) => sum + (marked[cell] && cell !== start ? price : 0), 0);
  const within = toGo(cost.map((price, cell) => (marked[cell] ? price : NOWHERE)), goal, size);
  const forbidden = cost.filter((price, cell) => marked[cell] && cell !== start && price === NOWHERE).length;
  const valid = kept && !forbidden && within[start] === paid;
  return { marked, kept, forbidden, valid, cost: paid, least: toGo(cost, goal, size)[start] };
}

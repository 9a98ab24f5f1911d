/* The law of the cities: as law.py, draw for draw. Grids are flat lists of size * size cells, in rows. */

const HOURS = [6, 8, 10, 12, 14, 17, 20, 23];
const OFFSET = { train: 1_000_000, test: 2_000_000 };
const FIRST_ID = { train: 0, test: 10_000 };
const CLOSING = [6, 23];
const [CLOSED, OF_SMALL] = [0.05, 0.3];
const [PLANS, TRIES] = [200, 10];
const RUSH = [[7, 9, 0.4], [12, 13, 0.25], [17, 19, 0.45]];
const BY_CLASS = [BUILDING, SMALL, LARGE, DIAGONAL]; // of a street plan: 0 building, 1 small, 2 large, 3 diagonal

const jamChance = (hour) => RUSH.find(([first, last]) => first <= hour && hour <= last)?.[2] ?? 0.1;

const between = (rng, least, most) => least + Math.floor(rng.random() * (most - least + 1));

function measures(size) {
  const part = (share) => Math.floor((share * size + 20) / 40);
  const wide = size >= 20;
  return {
    margin: Math.floor(size / 20),
    first: wide ? [1, 3] : [0, 2],
    avenue: wide ? 2 : 1,
    avenues: wide ? [4, 6] : [3, 5],
    offset: Math.floor(size / 5),
    diagonal: [part(28), part(40)],
    parkWide: [part(7), part(11)],
    parkHigh: [part(8), part(13)],
    parkMargin: Math.max(1, part(3)),
    apart: [part(15), part(50)],
  };
}

/* A scenario of {size, seed, hours}: its grid of tokens, and the hour. */
function draw(law, split, id) {
  const rng = new Philox(BigInt(OFFSET[split] + id), BigInt(law.seed));
  const hour = law.hours[between(rng, 0, law.hours.length - 1)];
  for (let plans = 0; plans < PLANS; plans++) {
    const plan = roads(law.size, rng);
    if (splitOf(plan) !== split) continue;
    for (let tries = 0; tries < TRIES; tries++) {
      const grid = traffic(plan, hour, rng);
      const ends = pickEnds(plan, grid, law.size, rng);
      if (!ends) continue;
      [grid[ends[0]], grid[ends[1]]] = [START, GOAL];
      return { grid, hour };
    }
  }
  throw new Error(`no start and goal found in ${PLANS} cities`);
}

/* A street plan of classes: small roads, over them a diagonal, large roads, a park. */
function roads(size, rng) {
  const [of, plan] = [measures(size), new Uint8Array(size * size)];
  const paint = (row, column, high, wide, road) => {
    for (let r = row; r < Math.min(row + high, size); r++) {
      plan.fill(road, r * size + column, r * size + Math.min(column + wide, size));
    }
  };
  for (let row = between(rng, 0, 3); row < size; row += 4) paint(row, 0, 1, size, 1);
  for (let column = between(rng, 0, 5); column < size; column += 6) paint(0, column, size, 1, 1);
  const falling = rng.random() < 0.5;
  const offset = between(rng, -of.offset, of.offset);
  const length = between(rng, ...of.diagonal);
  const left = between(rng, 0, size - length);
  for (let column = left; column < left + length; column++) {
    const top = (falling ? column : size - 1 - column) + offset;
    for (const row of [top, top + 1]) if (row >= 0 && row < size) plan[row * size + column] = 3;
  }
  let column = between(rng, ...of.first);
  for (; column < size; column += between(rng, ...of.avenues)) paint(0, column, size, of.avenue, 2);
  let row = between(rng, ...of.first);
  for (; row < size; row += between(rng, 3, 5)) paint(row, 0, 1, size, 2);
  const [high, wide] = [between(rng, ...of.parkHigh), between(rng, ...of.parkWide)];
  const top = between(rng, of.parkMargin, size - of.parkMargin - high);
  paint(top, between(rng, of.parkMargin, size - of.parkMargin - wide), high, wide, 0);
  return plan;
}

/* The split of a street plan, by its buildings, a bit a cell. */
function splitOf(plan) {
  const packed = new Uint8Array(Math.ceil(plan.length / 8));
  plan.forEach((road, cell) => { if (road) packed[cell >> 3] |= 128 >> (cell & 7); });
  return crc32(packed) % 2 ? "test" : "train";
}

/* The tokens of a street plan under the traffic of an hour. */
function traffic(plan, hour, rng) {
  const chance = jamChance(hour);
  const chances = [0, OF_SMALL * chance, chance, chance];
  const grid = plan.map((road) => BY_CLASS[road]);
  plan.forEach((road, cell) => { if (rng.random() < chances[road]) grid[cell] = JAMMED[grid[cell]]; });
  if (!CLOSING.includes(hour)) return grid;
  plan.forEach((road, cell) => { if (rng.random() < CLOSED && road >= 2) grid[cell] = CLOSURE; });
  return grid;
}

/* Start and goal: cells without a jam of the largest net of large roads; null: these have no pair. */
function pickEnds(plan, grid, size, rng) {
  const of = measures(size);
  const net = largest(Array.from(plan, (road, cell) => road === 2 && grid[cell] !== CLOSURE), size);
  const inside = (at) => at >= of.margin && at < size - of.margin;
  const cells = [...net].filter((cell) =>
    grid[cell] === LARGE && inside(cell % size) && inside(Math.floor(cell / size))).sort((a, b) => a - b);
  if (!cells.length) return null;
  const start = cells[between(rng, 0, cells.length - 1)];
  const far = cells.filter((cell) => {
    const apart = distance(cell, start, size);
    return apart >= of.apart[0] && apart <= of.apart[1];
  });
  return far.length ? [start, far[between(rng, 0, far.length - 1)]] : null;
}

const distance = (a, b, size) =>
  Math.abs((a % size) - (b % size)) + Math.abs(Math.floor(a / size) - Math.floor(b / size));

/* Of a set of cells the largest connected part; of equals, the one that ends last. */
function largest(cells, size) {
  const left = [...cells];
  let [best, last] = [[], -1];
  for (let first = 0; first < left.length; first++) {
    if (!left[first]) continue;
    const found = [first];
    left[first] = false;
    for (const cell of found) {
      for (const near of neighbours(cell, size)) {
        if (near < 0 || !left[near]) continue;
        left[near] = false;
        found.push(near);
      }
    }
    const end = found.reduce((most, cell) => Math.max(most, cell), 0);
    if (found.length > best.length || (found.length === best.length && end > last)) [best, last] = [found, end];
  }
  return best;
}

/* The examples of a scenario: its grid, and a label for each vehicle. */
function solve(grid, size) {
  return VEHICLES.map((_, i) => labelled(grid, cheapest(grid, i + 1, size)));
}

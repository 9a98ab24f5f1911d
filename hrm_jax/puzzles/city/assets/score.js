/* What a data set is worth: the original's 100 points, and gates that they leave open; as compliance.py. */

const READY = 90;
const BANDS = [[90, "excellent"], [80, "good"], [70, "acceptable"], [0, "poor"]];
const RARE = 0.001; // chance of hours as uneven, below which they are not drawn evenly

const mean = (list) => list.reduce((sum, value) => sum + Number(value), 0) / list.length;
const percent = (share, digits = 1) => new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: digits,
  maximumFractionDigits: digits, roundingMode: "halfEven" }).format(share); // as Python
const word = (grid) => String.fromCharCode(...grid); // of equal grids, equal

/* {score, band, passed, checks, gates}. */
function assess(data) {
  const checks = [...checksOf(data)];
  const gates = [...gatesOf(data)];
  const score = checks.reduce((sum, { points, passed }) => sum + (passed ? points : 0), 0);
  const passed = score >= READY && gates.every((gate) => gate.passed);
  return { score, band: BANDS.find(([least]) => score >= least)[1], passed, checks, gates };
}

// ---------------------------------------------------------------- the original's points

function* checksOf({ size, splits: { train, test } }) {
  const both = [train, test];
  const check = (part, name, points, passed, found) => ({ part, name, points, passed, found });
  const [n, m] = both.map(({ inputs }) => inputs.length);
  yield check("method", "example counts", 10, n === 960 && m === 400, `${n} and ${m}`);
  const known = new Set(test.scenarios);
  const shared = new Set(train.scenarios.filter((id) => known.has(id))).size;
  yield check("method", "scenario separation", 15, !shared, `${shared} shared ids`);
  const [p, q] = both.map((split) => [...scenariosOf(split).values()].filter((rows) =>
    new Set(rows.map((row) => split.vehicles[row])).size === VEHICLES.length).length);
  yield check("method", "systematic augmentation", 15, p >= 200 && q >= 80, `${p} and ${q} with all vehicles`);
  const highest = both.flatMap(({ inputs, labels }) => [...inputs, ...labels]).reduce((most, grid) =>
    grid.reduce((a, b) => Math.max(a, b), most), 0);
  yield check("tokens", "alphabet", 10, highest <= PATH, `tokens up to ${highest}`);
  const starts = mean(both.flatMap(({ inputs }) => inputs.map((grid) => grid.filter((t) => t === START).length)));
  yield check("tokens", "start and end", 10, starts > 0.95, `${starts.toFixed(2)} starts an example`);
  const joined = train.inputs.map((grid, i) => joins(grid, train.labels[i], size));
  yield check("paths", "validity", 15, mean(joined) > 0.95, `${percent(mean(joined))} join their ends`);
  const fit = mean(joined.map((whole, i) => {
    const length = lengthOf(train.inputs[i], train.labels[i], size);
    return whole && length >= 1 && length <= 3;
  }));
  yield check("paths", "optimality", 10, fit > 0.8, `${percent(fit)} of 1 to 3 Manhattan lengths`);
  const groups = both.flatMap((split) => [...scenariosOf(split).values()].map((rows) => [split, rows]));
  const alike = mean(groups.map(([{ inputs }, rows]) => new Set(rows.map((row) =>
    word(inputs[row].map((token) => ([START, GOAL].includes(token) ? SMALL : token))))).size === 1));
  yield check("augmentation", "consistent inputs", 8, alike > 0.8, `${percent(alike)} of the scenarios`);
  const diverse = mean(groups.map(([{ labels }, rows]) =>
    new Set(rows.map((row) => word(labels[row]))).size / rows.length));
  yield check("augmentation", "path diversity", 7, diverse > 0.5, `${diverse.toFixed(3)} labels a variant`);
}

/* The examples of every scenario: Map of id -> rows. */
function scenariosOf({ scenarios }) {
  const found = new Map();
  scenarios.forEach((id, row) => found.set(id, [...(found.get(id) ?? []), row]));
  return found;
}

/* Whether the marked cells join start and goal. */
function joins(grid, label, size) {
  const cost = Array.from(label, (token, i) => ([START, GOAL].includes(grid[i]) || token === PATH ? 1 : NOWHERE));
  return toGo(cost, grid.indexOf(GOAL), size)[grid.indexOf(START)] < NOWHERE;
}

/* The cells that a label marks, over the Manhattan distance of the ends. */
function lengthOf(grid, label, size) {
  const cells = label.filter((token) => [PATH, START, GOAL].includes(token)).length;
  return cells / Math.max(distance(grid.indexOf(START), grid.indexOf(GOAL), size), 1);
}

// ---------------------------------------------------------------- gates

function* gatesOf({ size, splits }) {
  const gate = (name, passed, found) => ({ name, passed, found });
  const plans = (split) => split.inputs.map((grid) => word(grid.map((token) => token === BUILDING)));
  for (const [what, kinds] of [["inputs", ({ inputs }) => inputs.map(word)], ["street plans", plans]]) {
    const own = new Set(kinds(splits.train));
    const shared = [...new Set(kinds(splits.test))].filter((one) => own.has(one)).length;
    yield gate(`no ${what} shared by train and test`, !shared, `${shared} shared`);
  }
  for (const [name, split] of Object.entries(splits)) {
    const [distinct, scenarios] = [new Set(plans(split)).size, new Set(split.scenarios).size];
    yield gate(`${name}: a street plan a scenario`, distinct === scenarios, `${distinct} of ${scenarios}`);
    yield* labelGates(split, size, (title, ...rest) => gate(`${name}: ${title}`, ...rest));
    const closed = mean(split.inputs.map((grid) => mean([...grid].map((token) => token === CLOSURE))));
    yield gate(`${name}: closures occur`, closed > 0, `${percent(closed, 2)} of the cells`);
    yield gate(`${name}: all hours, evenly`, ...hoursGate(split));
    const baselines = [["a copy", (grid) => grid], ["path everywhere", (grid) => grid.map(() => PATH)]];
    for (const [title, answer] of baselines) {
      const exact = mean(split.inputs.map((grid, n) => isExact(answer(grid), split.labels[n], split.ignored)));
      yield gate(`${name}: ${title} is never right`, exact === 0, `${percent(exact)} exact`);
    }
  }
}

const isExact = (answer, label, ignored) =>
  label.every((token, cell) => token === answer[cell] || token === ignored);

function* labelGates({ inputs, labels, identifiers, vehicles }, size, gate) {
  const asked = new Map(); // question -> label -> how often
  inputs.forEach((grid, n) => {
    const key = `${identifiers[n]} ${word(grid)}`;
    const counts = asked.get(key) ?? asked.set(key, new Map()).get(key);
    counts.set(word(labels[n]), (counts.get(word(labels[n])) ?? 0) + 1);
  });
  const counts = [...asked.values()];
  const several = counts.filter((found) => found.size > 1).length;
  const right = counts.reduce((sum, found) => sum + Math.max(...found.values()), 0) / inputs.length;
  yield gate("one label a question", !several, `${several} questions with several labels: at most ` +
    `${percent(right)} exact`);
  const twice = inputs.length - counts.reduce((sum, found) => sum + found.size, 0);
  yield gate("no example twice", !twice, `${twice} repeated`);
  const pathOnly = !labels.some((label) => label.includes(START));
  const verdicts = inputs.map((grid, n) => judge(grid, labels[n], vehicles[n], size, pathOnly));
  const valid = mean(verdicts.map((verdict) => verdict.valid));
  yield gate("routes keep to their vehicle's roads", valid === 1, percent(valid));
  const best = mean(verdicts.map((verdict) => verdict.valid && verdict.cost === verdict.least));
  yield gate("routes are the cheapest", best === 1, percent(best));
}

function hoursGate(split) {
  if (!split.hours) return [false, "the files do not say them"];
  const drawn = [...scenariosOf(split).values()].map(([first]) => split.hours[first]);
  const counts = [...new Set([...HOURS, ...drawn])].map((hour) => drawn.filter((other) => other === hour).length);
  const expected = drawn.length / counts.length;
  const chance = chanceOf(mean(counts.map((count) => (count - expected) ** 2)) * counts.length / expected,
    counts.length - 1);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return [least > 0 && chance > RARE, `${least} to ${most}, p = ${Number(chance.toPrecision(2))}`];
}

/* The chance that chi-square of so many degrees of freedom is as large: one minus a series. */
function chanceOf(square, degrees) {
  const [a, x] = [degrees / 2, square / 2];
  let gamma = degrees % 2 ? Math.sqrt(Math.PI) : 1; // of a + 1, at last
  for (let k = degrees % 2 ? 0.5 : 1; k <= a; k++) gamma *= k;
  let term = (x ** a * Math.exp(-x)) / gamma;
  let sum = term;
  for (let n = 1; term > 1e-17 * sum; n++) sum += term *= x / (a + n);
  return Math.max(0, 1 - sum);
}

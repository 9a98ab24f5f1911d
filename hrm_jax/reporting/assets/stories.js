/* What became of an episode with each of two models, in words, and the step from which on it matters. A trace is
   that of cells.js or paths.js; its kind there says how it `moves` (null: no word for it) and where it `expects` an
   obstacle to be a step later. */

const [LEAD, RUN_UP] = [3, 8]; // steps before an end to begin with, and those within which a parting is still near

const EXACT = 0.1; // cells within which an expectation explains no collision

const lastStep = (trace) => trace.agent.length - 1;

/* The first step at which the two agents are at different places; null: never while both are under way. */
function parting([one, other]) {
  const found = one.agent.findIndex((place, t) => t < other.agent.length && gap(place, other.agent[t]) > 0.05);
  return found < 0 ? null : found;
}

/* A few steps before the first failure, or where the two part if that is soon before it. */
function moment(traces) {
  const parted = parting(traces);
  const failed = traces.filter(({ outcome }) => outcome !== "success");
  const end = Math.min(...(failed.length ? failed.map(lastStep) : [parted ?? 1]));
  const near = parted !== null && parted <= end && end - parted < RUN_UP;
  return Math.max(0, Math.min(near ? parted - 1 : end, failed.length ? end - LEAD : end));
}

function story(names, traces, kind) {
  if (names[0] === names[1]) return `${names[0]} ${fate(traces[0])}.`;
  const [way, [first, second]] = [theirWays(names, traces, kind), inOrder(traces)];
  const lost = traces[first].outcome !== "success";
  if (!lost && lastStep(traces[0]) === lastStep(traces[1])) return `${way}. Both reach the goal in step ${lastStep(traces[0])}.`;
  const why = lost ? expectations(names, traces, first, kind) : "";
  return `${way}. ${names[first]} ${fate(traces[first])}${why}; ${names[second]} ${fate(traces[second])}.`;
}

/* Numbers of the traces: what failed comes first, then what ended sooner. */
function inOrder(traces) {
  const rank = (m) => (traces[m].outcome === "success" ? 1e6 : 0) + lastStep(traces[m]);
  return rank(1) < rank(0) ? [1, 0] : [0, 1];
}

function theirWays(names, traces, kind) {
  const parted = parting(traces);
  if (parted === null) return "Both go the same way";
  const moves = traces.map((trace) => kind.moves(trace, parted));
  if (parted <= 1 && moves.includes(null)) return "They part at once";
  const then = moves.includes(null) ? "they part" : names.map((name, m) => `${name} ${moves[m]}`).join(" and ");
  return parted > 1 ? `Until step ${parted - 1} both go the same way, then ${then}` : `At once ${then}`;
}

function fate({ outcome, collision, agent }) {
  const last = agent.length - 1;
  if (outcome === "success") return `reaches the goal in step ${last}`;
  if (outcome === "timeout") return `is out of time after ${last} steps`;
  if (collision?.obstacle) return `collides with obstacle ${collision.number + 1} in step ${last}`;
  return collision?.agent ? `touches a static cell or the edge of the map in step ${last}`
    : `has no path to follow in step ${last}`;
}

/* How far off the obstacle that was hit had been expected a step before, by the one that hit it and by the other. */
function expectations(names, traces, hit, kind) {
  const { collision, obstacles, outcome } = traces[hit];
  if (outcome !== "collision" || !collision?.obstacle) return "";
  const [last, number, other] = [lastStep(traces[hit]), collision.number, 1 - hit];
  const off = traces.map((trace) => {
    const expected = kind.expects(trace, last - 1, number);
    const same = trace.obstacles[last] && gap(trace.obstacles[last][number], obstacles[last][number]) < 0.02;
    return same && there(expected) ? `${gap(expected, obstacles[last][number]).toFixed(2)}` : null;
  });
  if (off[hit] === null) return ", which it does not look at";
  const others = off[other] === null ? "" : ` (${names[other]}: ${off[other]})`;
  const [joined, still] = off[hit] > EXACT ? [":", ""] : [",", "though "];
  return `${joined} ${still}a step before it expected the obstacle ${off[hit]} cells from where it came${others}`;
}

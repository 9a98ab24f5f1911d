/* Episodes of planners that move from cell to cell. A trace is {outcome, collision, agent, obstacles, observed,
   predicted, plan}: CellTrace of hrm_jax/artefacts/traces_file.py, and an Ending of reporting/collisions.py. */

const NEAR = 3; // cells from the plan
const PREDICTED = { colour: "prediction", width: 0.09, dash: [0.3, 0.3] };

const CELLS = {
  layers: { prediction: "predicted tracks", future: "true future", plan: "plan", trail: "trail" },
  draw: drawCells,
  describe: describeCells,
  moves: movesInCells,
  expects: (trace, step, n) => trace.predicted[step]?.[0]?.[n],
  legend: [
    ...MAP_ENTRIES,
    ["robot", '<circle cx="15" cy="8" r="5" fill="var(--agent)"/>'],
    ["plan, its last cell", '<path d="M2 8h18" stroke="var(--agent)" stroke-width="2.5" stroke-linecap="round" ' +
      'stroke-dasharray="0.1 5"/><path d="M21 4.5h7v7h-7z" fill="none" stroke="var(--agent)" stroke-width="1.5"/>'],
    OBSTACLE_ENTRY,
    ["true future, every 5th step", '<path d="M1 8h28" stroke="var(--obstacle)" stroke-width="1.6"/>' +
      '<circle cx="20" cy="8" r="2.6" fill="var(--obstacle)"/>'],
    ["prediction, every 5th step", '<path d="M1 8h28" stroke="var(--prediction)" stroke-width="2" ' +
      'stroke-dasharray="5 4"/><circle cx="18" cy="8" r="3.2" fill="var(--paper)" stroke="var(--prediction)" ' +
      'stroke-width="1.5"/>'],
    ["observed, where not the truth", '<path d="M10 8h10M15 3v10" stroke="var(--ink)" stroke-width="1.5"/>', "observed"],
    ["tracks that stay away from the plan", '<path d="M1 5h28" stroke="var(--obstacle)" stroke-width="1.6" ' +
      'opacity=".4"/><path d="M1 11h28" stroke="var(--prediction)" stroke-width="2" stroke-dasharray="5 4" ' +
      'opacity=".4"/>'],
    COLLISION_ENTRY,
  ],
};

function drawCells(pen, { episode, trace, step, last, layers, rule }) {
  drawMap(pen, episode.static);
  drawEnds(pen, episode.ends);
  const ended = step === last;
  if (layers.trail) drawTrail(pen, trace.agent.slice(0, step + 1));
  if (!ended && layers.future) drawTracks(pen, trace, step);
  if (!ended && layers.prediction) drawPredictions(pen, trace, step);
  if (!ended && layers.plan) drawPlan(pen, trace.plan[step]);
  trace.obstacles[step].forEach((p, n) => drawObstacle(pen, p, n + 1, rule.radius));
  if (!ended && trace.observed) trace.observed[step].forEach((p, n) => drawObserved(pen, p, trace.obstacles[step][n]));
  drawAgent(pen, trace.agent[step]);
  if (!ended || !trace.collision) return;
  drawLastMove(pen, trace, last, layers);
  drawContact(pen, trace.collision, rule.radius);
}

function drawTrail(pen, cells) {
  pen.context.globalAlpha = 0.45;
  drawPath(pen, cells, { colour: "agent", width: 0.12 });
  pen.context.globalAlpha = 1;
}

/* Where the obstacles really go until the end of the record. */
function drawTracks(pen, { obstacles, plan, predicted }, step) {
  const ahead = obstacles.slice(step, step + predicted[0].length + 1);
  const look = { line: { colour: "obstacle", width: 0.07 }, dot: [0.13, pen.colours.obstacle] };
  ahead[0].forEach((_, n) => drawTrack(pen, ahead.map((positions) => positions[n]), plan[step], NEAR, look));
  pen.context.globalAlpha = 1;
}

function drawPredictions(pen, trace, step) {
  const ahead = [(trace.observed ?? trace.obstacles)[step], ...trace.predicted[step]];
  const look = { line: PREDICTED, dot: predictedDot(pen) };
  ahead[1]?.forEach((_, n) => drawTrack(pen, ahead.map((positions) => positions[n]), trace.plan[step], NEAR, look));
  pen.context.globalAlpha = 1;
}

const predictedDot = ({ colours }) => [0.17, colours.paper, colours.prediction];

function drawPlan(pen, cells) {
  drawPath(pen, cells, { colour: "agent", width: 0.08, dash: [0.02, 0.25] });
  const { context, unit, at, colours } = pen;
  const [x, y] = at(cells[cells.length - 1]);
  context.strokeStyle = colours.agent;
  context.lineWidth = 1.5;
  context.strokeRect(x - 0.22 * unit, y - 0.22 * unit, 0.44 * unit, 0.44 * unit);
}

function drawObserved(pen, seen, truth) {
  if (!there(seen) || (there(truth) && gap(seen, truth) < 0.02)) return;
  const { context, unit, at, colours } = pen;
  const [x, y] = at(seen);
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.5;
  context.beginPath();
  line(context, x - 0.25 * unit, y, x + 0.25 * unit, y);
  line(context, x, y - 0.25 * unit, x, y + 0.25 * unit);
  context.stroke();
}

/* How the obstacle that was hit moved in the last step, and how it had been predicted to. */
function drawLastMove(pen, { obstacles, predicted, collision: { number } }, last, layers) {
  const here = obstacles[last - 1][number];
  const expected = predicted[last - 1][0][number];
  if (layers.future) drawPath(pen, [here, obstacles[last][number]], { colour: "obstacle", width: 0.07 });
  if (!layers.prediction || !there(expected)) return;
  drawPath(pen, [here, expected], PREDICTED);
  disc(pen, expected, ...predictedDot(pen));
}

function describeCells({ trace, step, last, rule }) {
  if (step < last) {
    const error = meanGap(trace.predicted[step][0], trace.obstacles[step + 1]);
    const [row, column] = trace.agent[step];
    const mean = error === null ? "no prediction" : `next-step prediction error ${error.toFixed(2)} cells on average`;
    return `Robot at row ${row}, column ${column}; ${mean}.`;
  }
  if (trace.outcome === "success") return `Reached the goal after ${last} steps.`;
  if (trace.outcome === "timeout") return `Out of time after ${last} steps.`;
  return `${describeContact(trace.collision, last, rule)}.`;
}

/* What an agent does to be where it is at `step`. */
function movesInCells({ agent }, step) {
  const [down, right] = [0, 1].map((axis) => agent[step][axis] - agent[Math.max(step - 1, 0)][axis]);
  if (!down && !right) return "waits";
  return `goes ${down ? (down > 0 ? "down" : "up") : right > 0 ? "right" : "left"}`;
}

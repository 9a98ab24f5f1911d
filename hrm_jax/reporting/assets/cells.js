/* Episodes of planners that move from cell to cell. A trace is {outcome, agent, obstacles, observed,
   predicted, plan}: CellTrace of hrm_jax/artefacts/traces_file.py. */

const NEAR = 3; // cells from the plan

const CELLS = {
  layers: { prediction: "predicted tracks", future: "true future", plan: "plan", trail: "trail" },
  scales: { agent: 1, obstacles: 100, observed: 100, predicted: 100, plan: 1 },
  draw: drawCells,
  describe: describeCells,
  legend: [
    ["agent", '<circle cx="15" cy="8" r="5" fill="var(--agent)"/>'],
    ["plan, its last cell", '<path d="M2 8h18" stroke="var(--agent)" stroke-width="2.5" stroke-linecap="round" ' +
      'stroke-dasharray="0.1 5"/><path d="M21 4.5h7v7h-7z" fill="none" stroke="var(--agent)" stroke-width="1.5"/>'],
    ["obstacle, collision radius", '<circle cx="15" cy="8" r="7" fill="var(--obstacle)" fill-opacity=".22" ' +
      'stroke="var(--obstacle)" stroke-width="1.5"/>'],
    ["true future, every 5th step", '<path d="M1 8h28" stroke="var(--obstacle)" stroke-width="1.6"/>' +
      '<circle cx="20" cy="8" r="2.6" fill="var(--obstacle)"/>'],
    ["prediction, every 5th step", '<path d="M1 8h28" stroke="var(--prediction)" stroke-width="2" ' +
      'stroke-dasharray="5 4"/><circle cx="18" cy="8" r="3.2" fill="var(--paper)" stroke="var(--prediction)" ' +
      'stroke-width="1.5"/>'],
    ["observed, where not the truth", '<path d="M10 8h10M15 3v10" stroke="var(--ink)" stroke-width="1.5"/>', "observed"],
    ["tracks that stay away from the plan", '<path d="M1 5h28" stroke="var(--obstacle)" stroke-width="1.6" ' +
      'opacity=".4"/><path d="M1 11h28" stroke="var(--prediction)" stroke-width="2" stroke-dasharray="5 4" ' +
      'opacity=".4"/>'],
    ["moment of collision", '<circle cx="15" cy="8" r="7" fill="none" stroke="var(--collision)" stroke-width="2"/>' +
      '<path d="M11 4l8 8M11 12l8 -8" stroke="var(--collision)" stroke-width="2"/>'],
  ],
};

function drawCells(pen, { episode, trace, step, layers, rule }) {
  drawMap(pen, episode.static);
  drawEnds(pen, episode.ends);
  const ended = step === trace.agent.length - 1;
  if (layers.trail) drawTrail(pen, trace.agent.slice(0, step + 1));
  if (!ended && layers.future) drawTracks(pen, trace, step);
  if (!ended && layers.prediction) drawPredictions(pen, trace, step);
  if (!ended && layers.plan) drawPlan(pen, trace.plan[step]);
  trace.obstacles[step].forEach((p, n) => drawObstacle(pen, p, n + 1, rule.radius));
  if (!ended && trace.observed) trace.observed[step].forEach((p, n) => drawObserved(pen, p, trace.obstacles[step][n]));
  drawAgent(pen, trace.agent[step]);
  if (!ended || trace.outcome !== "collision") return;
  const hit = contact(trace, rule.swept);
  drawLastMove(pen, trace, hit.obstacle, layers);
  drawContact(pen, hit, rule.radius);
}

function drawTrail(pen, cells) {
  pen.context.globalAlpha = 0.45;
  drawPath(pen, cells, { colour: "agent", width: 0.12 });
  pen.context.globalAlpha = 1;
}

/* Where the obstacles really go until the end of the record, a dot every five steps. */
function drawTracks(pen, { obstacles, plan, predicted }, step) {
  const ahead = obstacles.slice(step, step + predicted[0].length + 1);
  ahead[0].forEach((_, n) => {
    const track = ahead.map((positions) => positions[n]);
    pen.context.globalAlpha = matters(plan[step], track, NEAR) ? 1 : FAINT;
    drawPath(pen, track, { colour: "obstacle", width: 0.07 });
    for (let k = DOT_EVERY; k < track.length; k += DOT_EVERY) disc(pen, track[k], 0.13, pen.colours.obstacle);
  });
  pen.context.globalAlpha = 1;
}

function drawPredictions(pen, trace, step) {
  const ahead = trace.predicted[step];
  ahead[0]?.forEach((_, n) => {
    const start = (trace.observed ?? trace.obstacles)[step][n];
    const track = [start, ...ahead.map((positions) => positions[n])];
    pen.context.globalAlpha = matters(trace.plan[step], track, NEAR) ? 1 : FAINT;
    drawPath(pen, track, { colour: "prediction", width: 0.09, dash: [0.3, 0.3] });
    for (let k = DOT_EVERY; k < track.length; k += DOT_EVERY) {
      disc(pen, track[k], 0.17, pen.colours.paper, pen.colours.prediction);
    }
  });
  pen.context.globalAlpha = 1;
}

function drawPlan(pen, cells) {
  drawPath(pen, cells, { colour: "agent", width: 0.08, dash: [0.02, 0.25] });
  const { context, unit, at, colours } = pen;
  const [x, y] = at(cells[cells.length - 1]);
  context.strokeStyle = colours.agent;
  context.lineWidth = 1.5;
  context.strokeRect(x - 0.22 * unit, y - 0.22 * unit, 0.44 * unit, 0.44 * unit);
}

function drawObserved(pen, seen, truth) {
  if (Math.hypot(seen[0] - truth[0], seen[1] - truth[1]) < 0.02) return;
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
function drawLastMove(pen, trace, n, layers) {
  const last = trace.agent.length - 1;
  const here = trace.obstacles[last - 1][n];
  const expected = trace.predicted[last - 1][0][n];
  if (layers.future) drawPath(pen, [here, trace.obstacles[last][n]], { colour: "obstacle", width: 0.07 });
  if (!layers.prediction || !expected) return;
  drawPath(pen, [here, expected], { colour: "prediction", width: 0.09, dash: [0.3, 0.3] });
  disc(pen, expected, 0.17, pen.colours.paper, pen.colours.prediction);
}

/* Mean distance, in cells, of the prediction made at `step` from what then was, one step ahead. */
function nextError(trace, step) {
  const predicted = trace.predicted[step]?.[0];
  if (!predicted?.length) return null;
  const errors = predicted.map((p, n) =>
    Math.hypot(p[0] - trace.obstacles[step + 1][n][0], p[1] - trace.obstacles[step + 1][n][1]));
  return errors.reduce((sum, e) => sum + e, 0) / errors.length;
}

function describeCells({ trace, step, rule }) {
  const last = trace.agent.length - 1;
  if (step < last) {
    const error = nextError(trace, step);
    const [row, column] = trace.agent[step];
    const mean = error === null ? "no prediction" : `next-step prediction error ${error.toFixed(2)} cells on average`;
    return `Agent at row ${row}, column ${column}; ${mean}.`;
  }
  if (trace.outcome === "success") return `Reached the goal after ${last} steps.`;
  if (trace.outcome === "timeout") return `Out of time after ${last} steps.`;
  return `${describeContact(contact(trace, rule.swept), last, rule)}.`;
}

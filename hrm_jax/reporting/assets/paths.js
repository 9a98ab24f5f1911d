/* Episodes of planners of whole paths. A trace is {outcome, collision, agent, obstacles, planned_at, plans, samples,
   refined, chosen, believed}: PathTrace of hrm_jax/artefacts/traces_file.py, and an Ending of
   reporting/collisions.py. Plan number k is in force from step planned_at[k] on; its entry i is for step
   planned_at[k] + i. */

const AWAY = 2; // cells beyond the collision radius from which on an obstacle's track is drawn faintly

const PATHS = {
  layers: { samples: "samples", refined: "refined samples", plan: "chosen path", believed: "believed tracks", trail: "trail" },
  draw: drawPaths,
  describe: describePaths,
  moves: () => null,
  expects: expectedOnPath,
  legend: [
    ...MAP_ENTRIES,
    ["robot, its way so far", '<path d="M1 8h14" stroke="var(--ink)" stroke-width="1.6"/>' +
      '<circle cx="20" cy="8" r="5" fill="var(--agent)"/>'],
    ["chosen path, its place now", '<path d="M1 8h28" stroke="var(--agent)" stroke-width="3"/>' +
      '<path d="M15 3.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z" fill="var(--paper)" stroke="var(--agent)" stroke-width="1.8"/>'],
    ["samples", '<path d="M1 11q7 -9 14 -3t14 -4M1 6q9 8 14 3t14 4" fill="none" stroke="var(--sample)" ' +
      'stroke-width="1.3"/>', "samples"],
    ["samples after refinement", '<path d="M1 10q7 -6 14 -2t14 -3M1 6q9 6 14 2t14 3" fill="none" ' +
      'stroke="var(--refined)" stroke-width="1.3"/>', "refined"],
    OBSTACLE_ENTRY,
    ["where the plan takes obstacles to go, every 5th step; to be now, if not there", '<path d="M13 8h16" ' +
      'stroke="var(--prediction)" stroke-width="1.6" stroke-dasharray="4 3"/><circle cx="23" cy="8" r="2.6" ' +
      'fill="var(--paper)" stroke="var(--prediction)" stroke-width="1.3"/><circle cx="7.5" cy="8" r="6" fill="none" ' +
      'stroke="var(--prediction)" stroke-width="1.3" stroke-dasharray="3 2.5"/>', "believed"],
    ["goal, its tolerance", '<circle cx="15" cy="8" r="7" fill="none" stroke="var(--ink-soft)" ' +
      'stroke-dasharray="2 2.5"/><path d="M11 4h8v8h-8z" fill="none" stroke="var(--ink)" stroke-width="1.5"/>'],
    COLLISION_ENTRY,
  ],
};

/* The plan in force: its number, and the place of `step` along it. */
function planAt(trace, step) {
  const k = trace.planned_at.findLastIndex((time) => time <= step);
  return { k, now: Math.min(step - trace.planned_at[k], trace.plans[k].length - 1) };
}

/* Where the plan in force takes an obstacle to be a step later. */
function expectedOnPath(trace, step, n) {
  const { k, now } = planAt(trace, step);
  return trace.believed[k][now + 1]?.[n];
}

/* The first place of a path from which on it stays where it ends. */
function arrival(path) {
  const end = path[path.length - 1];
  return path.findLastIndex((p) => gap(p, end) > 0.01) + 1;
}

function drawPaths(pen, scene) {
  const { episode, trace, step, last, layers, rule } = scene;
  const { k, now } = planAt(trace, step);
  drawMap(pen, episode.static);
  if (scene.tolerance) disc(pen, episode.ends[1], scene.tolerance, null, pen.colours["ink-soft"], 1, [2, 3]);
  if (layers.believed) drawBelieved(pen, scene, k, now);
  if (layers.samples) drawSamples(pen, trace.samples[k], trace.chosen[k], "sample");
  if (layers.refined) drawSamples(pen, trace.refined[k], trace.chosen[k], "refined");
  if (layers.plan) drawPath(pen, trace.plans[k], { colour: "agent", width: 0.3, least: 2.5 });
  if (layers.trail) drawSteps(pen, trace.agent.slice(0, step + 1));
  drawEnds(pen, episode.ends);
  trace.obstacles[step].forEach((p, n) => drawObstacle(pen, p, n + 1, rule.radius));
  if (layers.plan) drawPlace(pen, trace.plans[k][now]);
  drawAgent(pen, trace.agent[step]);
  if (step === last && trace.collision?.agent) drawContact(pen, trace.collision, rule.radius);
}

/* All samples of a plan, faintly; the chosen one less so. */
function drawSamples(pen, samples, chosen, colour) {
  samples.forEach((path, n) => {
    pen.context.globalAlpha = n === chosen ? 1 : 0.6;
    drawPath(pen, path, { colour, width: 0.05, least: n === chosen ? 1.8 : 1 });
  });
  pen.context.globalAlpha = 1;
}

/* Where the plan takes the obstacles to be: now, if they are not there, and until its end. */
function drawBelieved(pen, { trace, step, rule }, k, now) {
  const [path, believed] = [trace.plans[k], trace.believed[k]];
  const ahead = path.slice(now, Math.max(arrival(path), now) + 1);
  const { paper, prediction } = pen.colours;
  const line = { colour: "prediction", width: 0.05, dash: [0.5, 0.5] };
  const look = { line, dot: [Math.max(0.17, 2 / pen.unit), paper, prediction, 1], opacity: 0.85 };
  (believed[now] ?? []).forEach((place, n) => {
    drawTrack(pen, ahead.map((_, i) => believed[now + i][n]), ahead, rule.radius + AWAY, look);
    if (gap(place, trace.obstacles[step][n]) > 0.1) disc(pen, place, rule.radius, null, prediction, 1.2, [3, 3]);
  });
  pen.context.globalAlpha = 1;
}

/* The way so far, a dot a step: what lies far apart went fast. */
function drawSteps(pen, places) {
  drawPath(pen, places, { colour: "ink", width: 0.04, least: 1.2 });
  places.forEach((place) => disc(pen, place, Math.max(0.1, 1.6 / pen.unit), pen.colours.ink));
}

function drawPlace({ context, at, colours }, place) {
  const [[x, y], arm] = [at(place), 0.55 * MARK];
  context.beginPath();
  [[0, -arm], [arm, 0], [0, arm], [-arm, 0]].forEach(([dx, dy], i) =>
    context[i ? "lineTo" : "moveTo"](x + dx, y + dy));
  context.closePath();
  context.fillStyle = colours.paper;
  context.fill();
  context.strokeStyle = colours.agent;
  context.lineWidth = 2;
  context.stroke();
}

function describePaths({ episode, trace, step, last, rule }) {
  const away = `${gap(trace.agent[step], episode.ends[1]).toFixed(1)} cells from the goal`;
  if (step < last) return `${whereabouts(trace, step)}, ${away}. ${planned(trace, step)}`;
  if (trace.outcome === "success") return `Arrived after ${last} steps, ${away}.`;
  if (trace.outcome === "timeout") return `Out of time after ${last} steps, ${away}.`;
  const { agent, obstacle } = trace.collision;
  if (obstacle) return `${describeContact(trace.collision, last, rule)}; ${away}.`;
  if (!agent) return `Failed in step ${last}: there was no path to follow.`;
  const found = `row ${agent[0].toFixed(1)}, column ${agent[1].toFixed(1)}`;
  return `Touched a static cell or the edge of the map at ${found} in step ${last}; ${away}.`;
}

const whereabouts = (trace, step) =>
  `Robot at row ${trace.agent[step][0].toFixed(1)}, column ${trace.agent[step][1].toFixed(1)}`;

/* Which plan is in force, and how far off it takes the obstacles to be. */
function planned(trace, step) {
  const { k, now } = planAt(trace, step);
  const [count, chosen] = [trace.samples[k].length, trace.chosen[k]];
  const kept = count && chosen < 0 ? ", the earlier one kept" : "";
  const from = chosen >= 0 && count > 1 ? `, sample ${chosen + 1} of ${count}` : kept;
  const mean = meanGap(trace.believed[k][now], trace.obstacles[step]);
  const trust = mean === null
    ? "; it looks at no moving obstacle"
    : `; obstacles ${mean.toFixed(2)} cells from where it takes them to be, on average`;
  return `Plan of step ${trace.planned_at[k]}${from}${trust}.`;
}

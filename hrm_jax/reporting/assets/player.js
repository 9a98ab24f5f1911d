"use strict";

/* The episode player. Data: traces.packed of hrm_jax/reporting/traces.py. Positions are (row, column)
   in cells, rows down. A player is one element .player; what it shows is a plain `state`, and `draw`
   is a function of it. */

(() => {
  const SPEEDS = [1, 2, 4, 8, 16]; // steps a second
  const LAYERS = { prediction: "predicted tracks", future: "true future", plan: "plan", trail: "trail" };
  const MARGIN = { before: 1.9, after: 1.9 }; // cells around the centres of the first and last cell
  const [MARK, SMALLEST_TEXT] = [14, 7]; // pixels: what a mark takes at least, and text
  const [NEAR, FAINT] = [3, 0.22]; // cells from the plan, opacity of the tracks that stay farther off
  const DOT_EVERY = 5; // steps between two dots on a track

  // ---------------------------------------------------------------- data

  /* Base64 of zlib of int16 differences along time; the result is nested arrays of `shape`. */
  async function unpack(packed, scale) {
    if (!packed) return null;
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const view = new DataView(await new Response(inflated).arrayBuffer());
    const { shape } = packed;
    const axis = Math.max(shape.length - 3, 0);
    const stride = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    const block = stride * shape[axis];
    const flat = new Int16Array(view.byteLength / 2);
    for (let i = 0; i < flat.length; i++) {
      flat[i] = view.getInt16(2 * i, true) + (i % block >= stride ? flat[i - stride] : 0); // wraps
    }
    let offset = 0;
    const nest = (depth) =>
      depth === shape.length ? flat[offset++] / scale : Array.from({ length: shape[depth] }, () => nest(depth + 1));
    return nest(0);
  }

  async function unpackTrace(packed) {
    const scales = { agent: 1, obstacles: 100, observed: 100, predicted: 100, plan: 1 };
    const arrays = await Promise.all(Object.keys(scales).map((name) => unpack(packed[name], scales[name])));
    return { outcome: packed.outcome, ...Object.fromEntries(Object.keys(scales).map((name, i) => [name, arrays[i]])) };
  }

  async function unpackEpisode(packed) {
    const traces = await Promise.all(packed.traces.map(unpackTrace));
    return { static: await unpack(packed.static, 1), traces };
  }

  /* Where the agent and the obstacle it hit were nearest during the last step. */
  function contact(trace, swept) {
    const last = trace.agent.length - 1;
    const [a, b] = [trace.agent[last - 1], trace.agent[last]];
    let best = null;
    trace.obstacles[last].forEach((after, n) => {
      const before = trace.obstacles[last - 1][n];
      const gap = [a[0] - before[0], a[1] - before[1]];
      const travel = [b[0] - after[0] - gap[0], b[1] - after[1] - gap[1]];
      const along = travel[0] ** 2 + travel[1] ** 2;
      const nearest = along > 0 ? -(gap[0] * travel[0] + gap[1] * travel[1]) / along : 0;
      const f = swept ? Math.min(1, Math.max(0, nearest)) : 1;
      const distance = Math.hypot(gap[0] + f * travel[0], gap[1] + f * travel[1]);
      if (!best || distance < best.distance) {
        best = { obstacle: n, distance, agent: between(a, b, f), at: between(before, after, f) };
      }
    });
    return best;
  }

  const between = (a, b, f) => [a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])];

  /* Mean distance, in cells, of the prediction made at `step` from what then was, one step ahead. */
  function nextError(trace, step) {
    const predicted = trace.predicted[step]?.[0];
    if (!predicted?.length) return null;
    const errors = predicted.map((p, n) =>
      Math.hypot(p[0] - trace.obstacles[step + 1][n][0], p[1] - trace.obstacles[step + 1][n][1]));
    return errors.reduce((sum, e) => sum + e, 0) / errors.length;
  }

  // ---------------------------------------------------------------- drawing

  function palette(element) {
    const style = getComputedStyle(element);
    const names = ["paper", "sunken", "ink", "ink-soft", "rule", "rule-strong", "agent", "obstacle", "prediction",
      "collision", "wall"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  function draw(canvas, scene) {
    const ratio = window.devicePixelRatio || 1;
    const size = canvas.clientWidth;
    if (!size) return;
    canvas.width = canvas.height = Math.round(size * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const cells = Math.max(scene.episode.static.length, scene.episode.static[0].length);
    const unit = size / (cells - 1 + MARGIN.before + MARGIN.after);
    const at = ([row, column]) => [(column + MARGIN.before) * unit, (row + MARGIN.before) * unit];
    const pen = { context, unit, at, colours: palette(canvas) };
    drawMap(pen, scene.episode.static);
    const { trace, step, layers } = scene;
    const last = trace.agent.length - 1;
    const ended = step === last;
    if (layers.trail) drawTrail(pen, trace.agent.slice(0, step + 1));
    if (!ended && layers.future) drawTracks(pen, trace, step);
    if (!ended && layers.prediction) drawPredictions(pen, trace, step);
    if (!ended && layers.plan) drawPlan(pen, trace.plan[step]);
    trace.obstacles[step].forEach((p, n) => drawObstacle(pen, p, n + 1, scene.radius));
    if (!ended && trace.observed) trace.observed[step].forEach((p, n) => drawObserved(pen, p, trace.obstacles[step][n]));
    drawAgent(pen, trace.agent[step]);
    if (!ended || trace.outcome !== "collision") return;
    const hit = contact(trace, scene.swept);
    drawLastMove(pen, trace, hit.obstacle, layers);
    drawContact(pen, hit, scene.radius);
  }

  function drawMap({ context, unit, at, colours }, map) {
    const [rows, columns] = [map.length, map[0].length];
    const [left, top] = at([-0.5, -0.5]);
    context.fillStyle = colours.paper;
    context.fillRect(left, top, columns * unit, rows * unit);
    context.strokeStyle = colours.rule;
    context.lineWidth = 1;
    context.beginPath();
    for (let k = 0; k <= columns; k++) line(context, left + k * unit, top, left + k * unit, top + rows * unit);
    for (let k = 0; k <= rows; k++) line(context, left, top + k * unit, left + columns * unit, top + k * unit);
    context.stroke();
    context.fillStyle = colours.wall;
    map.forEach((row, r) => row.forEach((wall, c) => {
      const [x, y] = at([r - 0.5, c - 0.5]);
      if (wall) context.fillRect(x, y, unit, unit);
    }));
    context.strokeStyle = colours["rule-strong"];
    context.strokeRect(left, top, columns * unit, rows * unit);
    drawNumbers({ context, unit, at, colours }, rows, columns);
    drawCorner({ context, unit, at, colours }, [0, 0], "S");
    drawCorner({ context, unit, at, colours }, [rows - 1, columns - 1], "G");
  }

  function line(context, x1, y1, x2, y2) {
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
  }

  function write({ context, colours }, text, [x, y], size, colour, weight = 400) {
    context.fillStyle = colours[colour];
    context.font = `${weight} ${size}px system-ui, "Liberation Sans", sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x, y);
  }

  function drawNumbers(pen, rows, columns) {
    const size = Math.max(9, Math.min(12, 0.6 * pen.unit));
    for (let k = 0; k < columns; k += 5) write(pen, k, pen.at([-1.2, k]), size, "ink-soft");
    for (let k = 0; k < rows; k += 5) write(pen, k, pen.at([k, -1.25]), size, "ink-soft");
  }

  function drawCorner(pen, cell, letter) {
    const { context, unit, at, colours } = pen;
    const [x, y] = at([cell[0] - 0.5, cell[1] - 0.5]);
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    context.strokeRect(x + 1, y + 1, unit - 2, unit - 2);
    write(pen, letter, at(cell), 0.62 * unit, "ink", 600);
  }

  function drawPath({ context, unit, at, colours }, points, { colour, width, dash = [] }) {
    if (points.length < 2) return;
    context.save();
    context.strokeStyle = colours[colour];
    context.lineWidth = Math.max(1.2, width * unit);
    context.lineJoin = context.lineCap = "round";
    context.setLineDash(dash.map((d) => d * unit));
    context.beginPath();
    points.forEach((p, i) => context[i ? "lineTo" : "moveTo"](...at(p)));
    context.stroke();
    context.restore();
  }

  function drawTrail(pen, cells) {
    pen.context.globalAlpha = 0.45;
    drawPath(pen, cells, { colour: "agent", width: 0.12 });
    pen.context.globalAlpha = 1;
  }

  function disc({ context, unit, at }, p, radius, fill, stroke, width = 1.5) {
    context.beginPath();
    context.arc(...at(p), radius * unit, 0, 2 * Math.PI);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.stroke();
    }
  }

  /* Whether anything of a track [k] comes near the planned cell of the same step; others are drawn faintly. */
  const matters = (plan, track) =>
    track.some((p, k) => plan[k] && Math.hypot(p[0] - plan[k][0], p[1] - plan[k][1]) < NEAR);

  /* Where the obstacles really go until the end of the record, a dot every five steps. */
  function drawTracks(pen, { obstacles, plan, predicted }, step) {
    const ahead = obstacles.slice(step, step + predicted[0].length + 1);
    ahead[0].forEach((_, n) => {
      const track = ahead.map((positions) => positions[n]);
      pen.context.globalAlpha = matters(plan[step], track) ? 1 : FAINT;
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
      pen.context.globalAlpha = matters(trace.plan[step], track) ? 1 : FAINT;
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

  function drawObstacle(pen, p, number, radius) {
    pen.context.globalAlpha = 0.22;
    disc(pen, p, radius, pen.colours.obstacle);
    pen.context.globalAlpha = 1;
    disc(pen, p, radius, null, pen.colours.obstacle);
    if (0.62 * pen.unit >= SMALLEST_TEXT) write(pen, number, pen.at(p), 0.62 * pen.unit, "ink", 600);
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

  function drawAgent(pen, cell) {
    disc(pen, cell, Math.max(0.36, (0.36 * MARK) / pen.unit), pen.colours.agent, pen.colours.paper, 2);
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

  /* The nearest moment: the obstacle as it then was, and a cross on the agent inside a ring. */
  function drawContact(pen, hit, radius) {
    const { context, unit, at, colours } = pen;
    context.save();
    context.setLineDash([4, 3]);
    disc(pen, hit.at, radius, null, colours.collision, 2);
    context.restore();
    const mark = Math.max(unit, MARK); // a cell, or more where cells are small
    disc(pen, hit.agent, (0.85 * mark) / unit, null, colours.collision, 3);
    const [x, y] = at(hit.agent);
    const arm = 0.42 * mark;
    for (const [colour, width] of [[colours.paper, 6], [colours.collision, 3]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.lineCap = "round";
      context.beginPath();
      line(context, x - arm, y - arm, x + arm, y + arm);
      line(context, x - arm, y + arm, x + arm, y - arm);
      context.stroke();
    }
    const above = y > 60;
    label(pen, "collision", [x, y + (above ? -1 : 1) * (0.85 * mark + 14)]);
  }

  function label(pen, text, [x, y]) {
    const { context, colours } = pen;
    context.font = '600 13px system-ui, "Liberation Sans", sans-serif';
    const width = context.measureText(text).width + 10;
    x = Math.max(width / 2, Math.min(x, context.canvas.clientWidth - width / 2));
    context.fillStyle = colours.collision;
    context.fillRect(x - width / 2, y - 10, width, 20);
    write(pen, text, [x, y], 13, "paper", 600);
  }

  // ---------------------------------------------------------------- the elements of a player

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function choice(label, options) {
    const select = make("select", { "aria-label": label });
    options.forEach((text, value) => select.append(make("option", { value }, text)));
    return select;
  }

  const LEGEND = [
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
    ["observed, where not the truth", '<path d="M10 8h10M15 3v10" stroke="var(--ink)" stroke-width="1.5"/>'],
    ["tracks that stay away from the plan", '<path d="M1 5h28" stroke="var(--obstacle)" stroke-width="1.6" ' +
      'opacity=".4"/><path d="M1 11h28" stroke="var(--prediction)" stroke-width="2" stroke-dasharray="5 4" ' +
      'opacity=".4"/>'],
    ["moment of collision", '<circle cx="15" cy="8" r="7" fill="none" stroke="var(--collision)" stroke-width="2"/>' +
      '<path d="M11 4l8 8M11 12l8 -8" stroke="var(--collision)" stroke-width="2"/>'],
  ];

  function legend(hasObserved) {
    const list = make("ul", { class: "legend" });
    for (const [text, drawing] of LEGEND) {
      if (text.startsWith("observed") && !hasObserved) continue;
      const item = make("li");
      item.innerHTML = `<svg viewBox="0 0 30 16" aria-hidden="true">${drawing}</svg>`;
      item.append(text);
      list.append(item);
    }
    return list;
  }

  function keys() {
    const paragraph = make("p", { class: "keys" }, "Keys, once the player has the focus: ");
    const known = [["←", "→", "step"], ["Space", "play or pause"], ["Home", "End", "first or last step"],
      ["↑", "↓", "episode"]];
    known.forEach((entry, i) => {
      entry.slice(0, -1).forEach((key) => paragraph.append(make("kbd", {}, key), " "));
      paragraph.append(entry.at(-1) + (i < known.length - 1 ? " · " : ""));
    });
    return paragraph;
  }

  // ---------------------------------------------------------------- a player

  function start(root) {
    const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
    const state = { episode: 0, step: 0, models: [0, Math.min(1, data.models.length - 1)], playing: null };
    const ui = build(root, data);
    let episode = null; // unpacked

    const traces = () => state.models.map((m) => episode.traces[m]);
    const lastStep = () => Math.max(...traces().map((trace) => trace.agent.length - 1));

    /* Unpack the chosen episode, and show it unless another has been chosen meanwhile. */
    async function open() {
      const chosen = state.episode;
      const found = await unpackEpisode(data.episodes[chosen]);
      if (chosen !== state.episode) return;
      episode = found;
      show();
    }

    function show() {
      if (!episode) return;
      state.step = Math.max(0, Math.min(state.step, lastStep()));
      root.dataset.step = state.step;
      root.dataset.episode = data.episodes[state.episode].id;
      ui.episode.value = state.episode;
      ui.scrubber.max = lastStep();
      ui.scrubber.value = state.step;
      ui.counter.textContent = `step ${state.step} of ${lastStep()}`;
      ui.counter.setAttribute("aria-live", state.playing ? "off" : "polite");
      ui.play.textContent = state.playing ? "Pause" : "Play";
      traces().forEach((trace, side) => showView(ui.views[side], trace, side));
    }

    function showView(view, trace, side) {
      const last = trace.agent.length - 1;
      const step = Math.min(state.step, last);
      const layers = Object.fromEntries(Object.entries(ui.layers).map(([name, box]) => [name, box.checked]));
      view.model.value = state.models[side];
      view.outcome.textContent = `${trace.outcome} in step ${last}`;
      view.outcome.dataset.outcome = trace.outcome;
      const text = describe(trace, step);
      view.state.textContent = text;
      view.canvas.setAttribute("aria-label", `${data.models[state.models[side]]}, step ${step}: ${text}`);
      draw(view.canvas, { episode, trace, step, layers, ...data.rule });
    }

    function describe(trace, step) {
      const last = trace.agent.length - 1;
      if (step < last) {
        const error = nextError(trace, step);
        const [row, column] = trace.agent[step];
        const mean = error === null ? "no prediction" : `next-step prediction error ${error.toFixed(2)} cells on average`;
        return `Agent at row ${row}, column ${column}; ${mean}.`;
      }
      if (trace.outcome === "success") return `Reached the goal after ${last} steps.`;
      if (trace.outcome === "timeout") return `Out of time after ${last} steps.`;
      const hit = contact(trace, data.rule.swept);
      return `Collision with obstacle ${hit.obstacle + 1} between steps ${last - 1} and ${last}: ` +
        `${hit.distance.toFixed(2)} cells apart, nearer than ${data.rule.radius}.`;
    }

    function go(step) {
      if (!episode) return;
      pause();
      state.step = step;
      show();
    }

    function choose(number) {
      const count = data.episodes.length;
      pause();
      state.episode = ((number % count) + count) % count;
      state.step = 0;
      open();
    }

    function play() {
      if (!episode) return;
      if (state.step >= lastStep()) state.step = 0;
      const tick = () => {
        state.step += 1;
        if (state.step >= lastStep()) pause();
        show();
      };
      state.playing = setInterval(tick, 1000 / SPEEDS[ui.speed.value]);
      show();
    }

    function pause() {
      clearInterval(state.playing);
      state.playing = null;
      ui.play.textContent = "Play";
    }

    const toggle = () => (state.playing ? (pause(), show()) : play());
    const actions = {
      ArrowLeft: () => go(state.step - 1),
      ArrowRight: () => go(state.step + 1),
      Home: () => go(0),
      End: () => go(lastStep()),
      ArrowUp: () => choose(state.episode - 1),
      ArrowDown: () => choose(state.episode + 1),
      " ": toggle,
    };

    root.addEventListener("keydown", (event) => {
      const own = event.target.closest("select, button, input[type=checkbox]"); // they have keys of their own
      const taken = own && (own.matches("select") || event.key === " ");
      if (taken || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
      event.preventDefault();
      actions[event.key]();
    });
    ui.episode.addEventListener("change", () => choose(Number(ui.episode.value)));
    ui.play.addEventListener("click", toggle);
    ui.scrubber.addEventListener("input", () => go(Number(ui.scrubber.value)));
    ui.speed.addEventListener("change", () => state.playing && (pause(), play()));
    Object.values(ui.layers).forEach((box) => box.addEventListener("change", show));
    ui.views.forEach((view, side) => {
      view.model.addEventListener("change", () => {
        state.models[side] = Number(view.model.value);
        show();
      });
      view.canvas.addEventListener("click", () => root.focus());
    });
    new ResizeObserver(show).observe(ui.views[0].canvas);
    matchMedia("screen and (prefers-color-scheme: dark)").addEventListener("change", show);
    onResolution(show);
    const addressed = readAddress(data, state);
    open();
    if (addressed) root.focus(); // which scrolls there
  }

  /* Zoomed, or moved to a screen with other pixels: each such query can only notice one change. */
  function onResolution(act) {
    const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    query.addEventListener("change", () => (act(), onResolution(act)), { once: true });
  }

  /* `index.html#player?episode=17&step=36&left=hrm&right=oracle` opens on that moment. */
  function readAddress(data, state) {
    const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
    const episode = data.episodes.findIndex((entry) => String(entry.id) === query.get("episode"));
    if (episode >= 0) state.episode = episode;
    if (query.has("step")) state.step = Number(query.get("step")) || 0;
    ["left", "right"].forEach((side, i) => {
      const model = data.models.indexOf(query.get(side));
      if (model >= 0) state.models[i] = model;
    });
    return episode >= 0;
  }

  function build(root, data) {
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    const named = (entry) => {
      const ends = data.models.map((name, m) => `${name} ${entry.traces[m].outcome}`);
      return `${entry.id}: ${ends.join(", ")}`;
    };
    const ui = {
      episode: choice("Episode", data.episodes.map(named)),
      play: make("button", { type: "button" }, "Play"),
      scrubber: make("input", { type: "range", class: "scrubber", min: 0, step: 1, "aria-label": "Step" }),
      counter: make("output", { class: "counter" }),
      speed: choice("Speed", SPEEDS.map((speed) => `${speed} steps/s`)),
      layers: {},
      views: [0, 1].map(() => ({
        model: choice("Model", data.models),
        outcome: make("span", { class: "outcome" }),
        canvas: make("canvas", { role: "img" }),
        state: make("p", { class: "state" }),
      })),
    };
    ui.speed.value = 2;
    const boxes = Object.entries(LAYERS).map(([name, text]) => {
      ui.layers[name] = make("input", { type: "checkbox", checked: "" });
      return make("label", {}, ui.layers[name], ` ${text}`);
    });
    const views = ui.views.map((view) =>
      make("div", { class: "view" }, make("header", {}, view.model, view.outcome), view.canvas, view.state));
    const hasObserved = data.episodes.some((entry) => entry.traces.some((trace) => trace.observed));
    root.append(
      make("div", { class: "tools" }, make("label", {}, "Episode ", ui.episode), ...boxes),
      make("div", { class: "tools" }, ui.play, ui.scrubber, ui.counter, make("label", {}, "Speed ", ui.speed)),
      make("div", { class: "views" }, ...views),
      legend(hasObserved),
      keys(),
    );
    return ui;
  }

  document.querySelectorAll(".player").forEach(start);
})();

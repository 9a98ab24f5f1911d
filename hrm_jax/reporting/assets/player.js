/* The episode player, and what it shares with the viewer of puzzle_viewer.js. Data: traces.packed of
   hrm_jax/reporting/traces.py. A player is one element .player; what it shows is a plain `state`, and drawing
   is a function of it. */

const SPEEDS = [1, 2, 4, 8, 16]; // steps a second
const KINDS = { cells: CELLS, paths: PATHS };

// ---------------------------------------------------------------- data

/* Base64 of zlib of int16 differences along time; the result is nested arrays of `shape`. */
async function unpack(packed, scale) {
  if (!packed) return null;
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const view = new DataView(await new Response(inflated).arrayBuffer());
  const { shape, axis } = packed;
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

async function unpackTrace(packed, scales) {
  const arrays = await Promise.all(Object.keys(scales).map((name) => unpack(packed[name], scales[name])));
  return { outcome: packed.outcome, ...Object.fromEntries(Object.keys(scales).map((name, i) => [name, arrays[i]])) };
}

async function unpackEpisode(packed, scales) {
  const traces = await Promise.all(packed.traces.map((trace) => unpackTrace(trace, scales)));
  return { static: await unpack(packed.static, 1), ends: packed.ends, traces };
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

/* What can be seen: entries [text, drawing, the array that must not be empty in all traces]. */
function legend(entries, data) {
  const list = make("ul", { class: "legend" });
  const kept = (name) => data.episodes.some((entry) =>
    entry.traces.some((trace) => trace[name] && trace[name].shape.every((size) => size > 0)));
  for (const [text, drawing, needed] of entries) {
    if (needed && !kept(needed)) continue;
    const item = make("li");
    item.innerHTML = `<svg viewBox="0 0 30 16" aria-hidden="true">${drawing}</svg>`;
    item.append(text);
    list.append(item);
  }
  return list;
}

function keys(step, entry) {
  const paragraph = make("p", { class: "keys" }, "Keys, once the player has the focus: ");
  const known = [["←", "→", step], ["Space", "play or pause"], ["Home", "End", `first or last ${step}`],
    ["↑", "↓", entry]];
  known.forEach((entry, i) => {
    entry.slice(0, -1).forEach((key) => paragraph.append(make("kbd", {}, key), " "));
    paragraph.append(entry.at(-1) + (i < known.length - 1 ? " · " : ""));
  });
  return paragraph;
}

// ---------------------------------------------------------------- what every player does

/* Play, pause, scrub, choose, by hand and by key. `player` is {state: {entry, step, models, playing},
   ui: {entry, play, scrubber, speed, layers, views}, count of entries, ready(), last(), show(), chosen()}. Returns
   what goes to a step. */
function drive(root, player) {
  const { state, ui } = player;

  function go(step) {
    if (!player.ready()) return;
    pause();
    state.step = step;
    player.show();
  }

  function choose(number) {
    pause();
    state.entry = ((number % player.count) + player.count) % player.count;
    player.chosen();
  }

  function play() {
    if (!player.ready()) return;
    if (state.step >= player.last()) state.step = 0;
    const tick = () => {
      state.step += 1;
      if (state.step >= player.last()) pause();
      player.show();
    };
    state.playing = setInterval(tick, 1000 / SPEEDS[ui.speed.value]);
    player.show();
  }

  function pause() {
    clearInterval(state.playing);
    state.playing = null;
    ui.play.textContent = "Play";
  }

  const toggle = () => (state.playing ? (pause(), player.show()) : play());
  const actions = {
    ArrowLeft: () => go(state.step - 1),
    ArrowRight: () => go(state.step + 1),
    Home: () => go(0),
    End: () => go(player.last()),
    ArrowUp: () => choose(state.entry - 1),
    ArrowDown: () => choose(state.entry + 1),
    " ": toggle,
  };

  root.addEventListener("keydown", (event) => {
    const own = event.target.closest("select, button, input[type=checkbox]"); // they have keys of their own
    const taken = own && (own.matches("select") || event.key === " ");
    if (taken || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  ui.entry.addEventListener("change", () => choose(Number(ui.entry.value)));
  ui.play.addEventListener("click", toggle);
  ui.scrubber.addEventListener("input", () => go(Number(ui.scrubber.value)));
  ui.speed.addEventListener("change", () => state.playing && (pause(), play()));
  Object.values(ui.layers).forEach((box) => box.addEventListener("change", player.show));
  ui.views.forEach((view, side) => {
    view.model.addEventListener("change", () => {
      state.models[side] = Number(view.model.value);
      player.show();
    });
    view.canvas.addEventListener("click", () => root.focus());
  });
  new ResizeObserver(player.show).observe(ui.views[0].canvas);
  matchMedia("screen and (prefers-color-scheme: dark)").addEventListener("change", player.show);
  onResolution(player.show);
  return go;
}

/* What the scrubber, the counter and the button say. */
function showTransport({ state, ui }, last, step) {
  ui.entry.value = state.entry;
  ui.scrubber.max = last;
  ui.scrubber.value = state.step;
  ui.counter.textContent = `${step} ${state.step} of ${last}`;
  ui.counter.setAttribute("aria-live", state.playing ? "off" : "polite");
  ui.play.textContent = state.playing ? "Pause" : "Play";
}

// ---------------------------------------------------------------- a player of episodes

function start(root) {
  const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
  const state = { entry: 0, step: 0, models: [0, Math.min(1, data.models.length - 1)], playing: null };
  const kind = KINDS[data.kind];
  const ui = build(root, data, kind);
  let episode = null; // unpacked

  const traces = () => state.models.map((m) => episode.traces[m]);
  const lastStep = () => Math.max(...traces().map((trace) => trace.agent.length - 1));

  /* Unpack the chosen episode, and show it unless another has been chosen meanwhile. */
  async function open() {
    const chosen = state.entry;
    const found = await unpackEpisode(data.episodes[chosen], kind.scales);
    if (chosen !== state.entry) return;
    episode = found;
    show();
  }

  function show() {
    if (!episode) return;
    state.step = Math.max(0, Math.min(state.step, lastStep()));
    root.dataset.step = state.step;
    root.dataset.episode = data.episodes[state.entry].id;
    showTransport({ state, ui }, lastStep(), "step");
    traces().forEach((trace, side) => showView(ui.views[side], trace, side));
  }

  function showView(view, trace, side) {
    const last = trace.agent.length - 1;
    const step = Math.min(state.step, last);
    const layers = Object.fromEntries(Object.entries(ui.layers).map(([name, box]) => [name, box.checked]));
    view.model.value = state.models[side];
    view.outcome.textContent = `${trace.outcome} in step ${last}`;
    view.outcome.dataset.outcome = trace.outcome;
    const scene = { episode, trace, step, layers, rule: data.rule, tolerance: data.tolerance };
    const text = kind.describe(scene);
    view.state.textContent = text;
    view.canvas.setAttribute("aria-label", `${data.models[state.models[side]]}, step ${step}: ${text}`);
    const pen = takePen(view.canvas, episode.static, data.rule.radius);
    if (pen) kind.draw(pen, scene);
  }

  drive(root, {
    state, ui, show,
    count: data.episodes.length,
    ready: () => episode !== null,
    last: lastStep,
    chosen: () => ((state.step = 0), open()),
  });
  const addressed = readAddress(data.episodes, [data.models, data.models], state, "episode", "step");
  open();
  if (addressed) root.focus(); // which scrolls there
}

/* Zoomed, or moved to a screen with other pixels: each such query can only notice one change. */
function onResolution(act) {
  const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
  query.addEventListener("change", () => (act(), onResolution(act)), { once: true });
}

/* `index.html#player?episode=17&step=36&left=hrm&right=oracle` opens on that moment. `models` are the names
   that may stand on either side. */
function readAddress(entries, models, state, entry, step) {
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const found = entries.findIndex(({ id }) => String(id) === query.get(entry));
  if (found >= 0) state.entry = found;
  if (query.has(step)) state.step = Number(query.get(step)) || 0;
  ["left", "right"].forEach((side, i) => {
    const model = models[i].indexOf(query.get(side));
    if (model >= 0) state.models[i] = model;
  });
  return found >= 0;
}

function build(root, data, kind) {
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  const named = (entry) => {
    const ends = data.models.map((name, m) => `${name} ${entry.traces[m].outcome}`);
    return `${entry.id}: ${ends.join(", ")}`;
  };
  const ui = {
    entry: choice("Episode", data.episodes.map(named)),
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
  const boxes = Object.entries(kind.layers).map(([name, text]) => {
    ui.layers[name] = make("input", { type: "checkbox", checked: "" });
    return make("label", {}, ui.layers[name], ` ${text}`);
  });
  const views = ui.views.map((view) =>
    make("div", { class: "view" }, make("header", {}, view.model, view.outcome), view.canvas, view.state));
  root.append(
    make("div", { class: "tools" }, make("label", {}, "Episode ", ui.entry), ...boxes),
    make("div", { class: "tools" }, ui.play, ui.scrubber, ui.counter, make("label", {}, "Speed ", ui.speed)),
    make("div", { class: "views" }, ...views),
    legend(kind.legend, data),
    keys("step", "episode"),
  );
  return ui;
}

document.querySelectorAll(".player:not(.puzzles)").forEach(start);

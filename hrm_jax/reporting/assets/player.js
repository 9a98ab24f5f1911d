/* The episode player, and what it shares with the viewer of puzzle_viewer.js. Data: packing.py of hrm_jax/reporting.
   A player is an element .player of entries (episodes, puzzles) that go on in steps; what it shows is a plain
   `state`, and drawing is a function of it. */

const SPEEDS = [1, 2, 4, 8, 16]; // steps a second
const KINDS = { cells: CELLS, paths: PATHS };

// ---------------------------------------------------------------- data

/* A value of the page's JSON with all arrays in it unpacked. */
async function unpack(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return Promise.all(value.map(unpack));
  if ("data" in value) return unpackArray(value);
  const parts = await Promise.all(Object.values(value).map(unpack));
  return Object.fromEntries(Object.keys(value).map((name, i) => [name, parts[i]]));
}

/* Base64 of zlib of int16 differences along time; the result is nested arrays of `shape`. */
async function unpackArray({ shape, axis, unit, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const view = new DataView(await new Response(inflated).arrayBuffer());
  const stride = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const block = stride * shape[axis];
  const flat = new Int16Array(view.byteLength / 2);
  for (let i = 0; i < flat.length; i++) {
    flat[i] = view.getInt16(2 * i, true) + (i % block >= stride ? flat[i - stride] : 0); // wraps
  }
  let offset = 0;
  const nest = (depth) =>
    depth === shape.length ? flat[offset++] / unit : Array.from({ length: shape[depth] }, () => nest(depth + 1));
  return nest(0);
}

// ---------------------------------------------------------------- the elements of a player

function choice(label, options) {
  const select = make("select", { "aria-label": label });
  options.forEach((text, value) => select.append(make("option", { value }, text)));
  return select;
}

/* What can be seen: entries [text, drawing]. */
function legend(entries) {
  const list = make("ul", { class: "legend" });
  for (const [text, drawing] of entries) {
    const item = make("li");
    item.innerHTML = `<svg viewBox="0 0 30 16" aria-hidden="true">${drawing}</svg>`;
    item.append(text);
    list.append(item);
  }
  return list;
}

function keys({ step, entry }) {
  const paragraph = make("p", { class: "keys" }, "Keys, once Tab or a click has brought you here: ");
  const known = [["←", "→", step], ["Space", "play or pause"], ["Home", "End", `first or last ${step}`],
    ["↑", "↓", entry]];
  known.forEach((entry, i) => {
    entry.slice(0, -1).forEach((key) => paragraph.append(make("kbd", {}, key), " "));
    paragraph.append(entry.at(-1) + (i < known.length - 1 ? " · " : ""));
  });
  return paragraph;
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

/* Fills a player, and returns the elements that change or are used; `of` as in `start`. */
function build(root, of) {
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  const entry = capital(of.entry);
  const ui = {
    entry: choice(entry, of.entries.map((packed) => `${packed.id}: ${of.named(packed).join(", ")}`)),
    play: make("button", { type: "button" }, "Play"),
    scrubber: make("input", { type: "range", class: "scrubber", min: 0, step: 1, "aria-label": capital(of.step) }),
    counter: make("output", { class: "counter" }),
    speed: choice("Speed", SPEEDS.map((speed) => `${speed} ${of.step}s/s`)),
    layers: {},
    views: of.models.map(buildView),
    story: make("p", { class: "story", "aria-live": "polite" }),
  };
  ui.speed.value = of.speed;
  const boxes = Object.entries(of.layers).map(([name, text]) => {
    ui.layers[name] = make("input", { type: "checkbox", ...(of.off?.includes(name) ? {} : { checked: "" }) });
    return make("label", {}, ui.layers[name], ` ${text}`);
  });
  root.append(
    ui.story,
    make("div", { class: "tools" }, ui.play, ui.scrubber, ui.counter),
    make("div", { class: "views" }, ...(of.given ?? []), ...ui.views.map((view) => view.root)),
    make("div", { class: "tools" }, make("label", {}, `${entry} `, ui.entry), make("label", {}, "Speed ", ui.speed),
      ...boxes),
    legend(of.legend),
    keys(of),
  );
  return ui;
}

function buildView(names) {
  const view = {
    model: choice("Model", names),
    outcome: make("span", { class: "outcome" }),
    canvas: make("canvas", { role: "img" }),
    strip: make("div", { class: "strip" }), // what a player may show below the canvas
    state: make("p", { class: "state" }),
  };
  view.body = make("div", {}, view.canvas, view.strip, view.state);
  view.root = make("div", { class: "view" }, make("header", {}, view.model, view.outcome), view.body);
  return view;
}

// ---------------------------------------------------------------- what every player does

/* Makes a player of `root`. What players differ in is `of`:
     entry, step         what both are called, here and in the address
     entries             as packed; `named(packed)` is what is said of one where it is chosen
     models              the names that may stand in each view, one or two
     layers              switches {name: text}; `off`, those that are not on at first
     legend              entries [text, drawing]
     opening             {entry, models}: the numbers of what is shown at first
     first(shown, models) the step to begin with, of an entry, unpacked, where these models (numbers) are seen
     speed               the place in SPEEDS to begin with
     rewinds             whether another entry begins at its first step, too
     last(shown, models) the last step
     story(shown, models) what became of it
     scene(shown, model, step, layers)   what a view shows, with its own `step`; null: nothing
     outcome(scene), describe(scene), draw(view, scene)   [text, name for its colour]; a sentence; the pictures
   and, where they apply, `given`, elements before the views, `prepare(shown)` and `show(shown, layers)`.
   Returns its elements, and what goes to a step. */
function start(root, of) {
  const { entry, models } = of.opening;
  const state = { entry, step: null, models: of.models.map((_, side) => models[side]), playing: null }; // step null: its first
  const ui = build(root, of);
  let shown = null; // an entry, unpacked
  const last = () => of.last(shown, state.models);

  /* Unpack the chosen entry, and show it unless another has been chosen meanwhile. */
  async function open() {
    const chosen = state.entry;
    const found = await unpack(of.entries[chosen]);
    of.prepare?.(found);
    if (chosen !== state.entry) return;
    shown = found;
    state.step ??= of.first(shown, state.models);
    show();
  }

  function show() {
    if (!shown || state.step === null) return;
    state.step = Math.max(0, Math.min(state.step, last()));
    root.dataset.step = state.step;
    root.dataset[of.entry] = shown.id;
    showTransport({ state, ui }, last(), of.step);
    renew(ui.story, of.story(shown, state.models));
    const layers = Object.fromEntries(Object.entries(ui.layers).map(([name, box]) => [name, box.checked]));
    of.show?.(shown, layers);
    ui.views.forEach((view, side) => showView(view, state.models[side], layers, of.models[side]));
  }

  function showView(view, model, layers, names) {
    const scene = of.scene(shown, model, state.step, layers);
    view.model.value = model;
    view.body.hidden = !scene;
    view.root.classList.toggle("empty", !scene);
    if (!scene) return;
    [view.outcome.textContent, view.outcome.dataset.outcome] = of.outcome(scene);
    view.state.textContent = of.describe(scene);
    view.canvas.setAttribute("aria-label", `${names[model]}, ${of.step} ${scene.step}: ${view.state.textContent}`);
    of.draw(view, scene);
  }

  function choose(number) {
    state.entry = (number + of.entries.length) % of.entries.length;
    if (of.rewinds) state.step = null;
    open();
  }

  const go = drive(root, { state, ui, show, choose, ready: () => shown !== null && state.step !== null, last });
  const addressed = readAddress(of, state);
  open();
  if (addressed) {
    root.closest("details")?.setAttribute("open", "");
    root.focus(); // which scrolls there
  }
  return { ui, go };
}

/* Play, pause, scrub, choose, by hand and by key. Returns what goes to a step. */
function drive(root, { state, ui, show, choose, ready, last }) {
  function go(step) {
    if (!ready()) return;
    pause();
    state.step = step;
    show();
  }

  function change(entry) {
    pause();
    choose(entry);
  }

  function play() {
    if (!ready()) return;
    if (state.step >= last()) state.step = 0;
    const tick = () => {
      state.step += 1;
      if (state.step >= last()) pause();
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
    End: () => go(last()),
    ArrowUp: () => change(state.entry - 1),
    ArrowDown: () => change(state.entry + 1),
    " ": toggle,
  };

  root.addEventListener("keydown", (event) => {
    const own = event.target.closest("select, button, input[type=checkbox]"); // they have keys of their own
    const taken = own && (own.matches("select") || event.key === " ");
    if (taken || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  ui.entry.addEventListener("change", () => change(Number(ui.entry.value)));
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

/* Other words alone are news to who listens. */
function renew(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/* Zoomed, or moved to a screen with other pixels: each such query can only notice one change. */
function onResolution(act) {
  const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
  query.addEventListener("change", () => (act(), onResolution(act)), { once: true });
}

/* `index.html#player?episode=17&step=36&left=hrm&right=oracle` opens on that moment. */
function readAddress({ entries, entry, step, models }, state) {
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const found = entries.findIndex(({ id }) => String(id) === query.get(entry));
  if (found >= 0) state.entry = found;
  if (query.has(step)) state.step = Number(query.get(step)) || 0;
  models.forEach((names, side) => {
    const model = names.indexOf(query.get(["left", "right"][side]));
    if (model >= 0) state.models[side] = model;
  });
  return found >= 0;
}

// ---------------------------------------------------------------- a player of episodes

function playEpisodes(root) {
  const data = JSON.parse(document.getElementById(root.dataset.traces).textContent);
  const { models, rule, tolerance } = data;
  const kind = KINDS[data.kind];
  const kept = (name) => data.episodes.some(({ traces }) =>
    traces.some((trace) => trace[name]?.shape.every((size) => size > 0)));
  start(root, {
    entry: "episode",
    step: "step",
    entries: data.episodes,
    named: ({ traces }) => models.map((name, m) => `${name} ${traces[m].outcome}`),
    models: [models, models],
    layers: kind.layers,
    legend: kind.legend.filter(([, , needed]) => !needed || kept(needed)),
    opening: data.opening,
    first: ({ traces }, seen) => moment(seen.map((m) => traces[m])),
    story: ({ traces }, seen) => story(seen.map((m) => models[m]), seen.map((m) => traces[m]), kind),
    speed: 2,
    rewinds: true,
    last: ({ traces }, seen) => Math.max(...seen.map((m) => lastStep(traces[m]))),
    scene(episode, model, step, layers) {
      const trace = episode.traces[model];
      const last = lastStep(trace);
      return { episode, trace, last, step: Math.min(step, last), layers, rule, tolerance };
    },
    outcome: ({ trace, last }) => [`${trace.outcome} in step ${last}`, trace.outcome],
    describe: kind.describe,
    draw({ canvas }, scene) {
      const pen = takePen(canvas, scene.episode.static, rule.radius);
      if (pen) kind.draw(pen, scene);
    },
  });
}

document.querySelectorAll(".player:not(.puzzles)").forEach(playEpisodes);

/* Any scenario of any seed: its map, the routes of the four vehicles, what the chosen one may use. */

const LEGEND = [["large road", LARGE], ["small road", SMALL], ["diagonal", DIAGONAL], ["jam on a large road", JAM],
  ["jam on a small road", JAM_SMALL], ["jam on the diagonal", JAM_DIAGONAL], ["closed", CLOSURE],
  ["building or park", BUILDING]];

const scenario = { split: at("split"), number: at("number"), seed: at("seed"), size: at("size"), hour: at("hour"),
  vehicle: at("vehicle") };
scenario.hour.append(new Option("as drawn", ""), ...HOURS.map((hour) => new Option(`${hour}:00`, hour)));
scenario.vehicle.append(...VEHICLES.map((name, i) => new Option(name, i + 1)));

/* What the fields ask for. */
function lawOf() {
  const hours = scenario.hour.value ? [Number(scenario.hour.value)] : HOURS;
  return { size: valueOf(scenario.size), seed: valueOf(scenario.seed), hours };
}

function showScenario() {
  const [law, split, number] = [lawOf(), scenario.split.value, valueOf(scenario.number)];
  let found;
  try {
    found = draw(law, split, FIRST_ID[split] + number);
  } catch (error) {
    at("scenario-state").textContent = `Scenario ${number} of ${split}: ${error.message}.`;
    return;
  }
  const { grid, hour } = found;
  const chosen = Number(scenario.vehicle.value);
  const routes = VEHICLES.map((_, i) => cheapest(grid, i + 1, law.size));
  const costs = routes.map((cells, i) => costOf(cells, grid, i + 1));
  const told = VEHICLES.map((name, i) => `${name} ${costs[i]}`).join(", ");
  at("scenario-state").textContent =
    `Scenario ${number} of ${split}, seed ${law.seed}, ${hour}:00. Cost: ${told}.`;
  fillTable(at("routes"), routes.map((cells, i) => routeRow(cells, costs[i], grid, i + 1, chosen)));
  showMaps(grid, routes, law.size);
  showLegend(chosen);
}

function routeRow(cells, cost, grid, vehicle, chosen) {
  const name = make("span");
  name.innerHTML = sample(vehicle);
  name.append(VEHICLES[vehicle - 1]);
  const jams = cells.filter((cell) => grid[cell] in FREED).length;
  const numbers = [cells.length, cost, jams].map((value) => [String(value), { class: "number" }]);
  return { css: vehicle === chosen ? "chosen" : "", cells: [[name, {}], ...numbers] };
}

function showMaps(grid, routes, size) {
  const four = document.querySelector("input[name=view]:checked").value === "four";
  const count = four ? VEHICLES.length : 1;
  const maps = at("maps");
  maps.classList.toggle("four", four);
  if (maps.children.length !== count) {
    maps.replaceChildren(...Array.from({ length: count }, (_, i) => make("figure", {},
      ...(four ? [make("figcaption", {}, VEHICLES[i])] : []), make("canvas", { role: "img" }))));
  }
  maps.querySelectorAll("canvas").forEach((canvas, i) => {
    const label = four ? `Route of the ${VEHICLES[i]}, ${routes[i].length} cells` : "The city, and the routes of all vehicles";
    picture(canvas, label, size, (pen) => {
      drawGround(pen, grid);
      if (four) drawRoute(pen, routes[i], i + 1, { width: 0.4 });
      else drawRoutes(pen, routes);
      drawEnds(pen, grid);
    });
  });
}

/* What entering a cell costs the vehicle, or that it never may. */
function showLegend(vehicle) {
  at("legend-title").textContent = `What the ${VEHICLES[vehicle - 1]} pays for a cell`;
  at("legend").replaceChildren(...LEGEND.map(([name, token]) => {
    const cost = COSTS[vehicle][token];
    const canvas = make("canvas", { "aria-hidden": "true" });
    const text = cost === NOWHERE ? make("span", { class: "never" }, name) : make("span", {}, name);
    return make("li", {}, canvas, text, cost === NOWHERE ? " never" : ` ${cost}`);
  }));
  at("legend").querySelectorAll("canvas").forEach((canvas, i) => {
    picture(canvas, "", 1, (pen) => drawGround(pen, [LEGEND[i][1]]));
  });
}

function step(by) {
  scenario.number.value = valueOf(scenario.number) + by;
  showScenario();
}

for (const field of [...Object.values(scenario), ...document.querySelectorAll("input[name=view]")]) {
  field.addEventListener("change", showScenario);
}
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
keys(at("scenario"), {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => turn(scenario.vehicle, -1),
  ArrowDown: () => turn(scenario.vehicle, 1),
});
showScenario();

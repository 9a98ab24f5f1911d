/* A data set and its 18 JSON files: as files.py.

   Data are {size, vocabulary, names, hours, splits}; a split has lists of one entry an example: inputs and labels
   (Uint8Arrays), identifiers, scenarios (ids), vehicles (1 to 4) and hours, null where the files do not say them;
   and `ignored`, the label that does not count. */

const SPLITS = ["train", "test"];
const PREFIX = "city_routing_paper_";
const KEYS = ["easy", "normal", "hard", "expert"]; // the vehicles' names there
const TOKENS = ["PAD", "OBSTACLE", "SMALL_ROAD", "LARGE_ROAD", "DIAGONAL", "TRAFFIC_JAM", "ROAD_CLOSURE", "START",
  "END", "PATH", "TRAFFIC_JAM_SMALL", "TRAFFIC_JAM_DIAGONAL"];
const COLUMNS = ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices", "base_scenario_ids",
  "vehicle_types"];
const FILES = [
  ...SPLITS.flatMap((split) => [`${split}_dataset`, ...COLUMNS.map((name) => `${split}_all__${name}`)]),
  "identifiers", "dataset_summary",
];

/* The data of so many scenarios; `progress` is called with the number of those that are done. */
function generate(law, counts, progress) {
  const splits = {};
  let done = 0;
  for (const split of SPLITS) {
    const found = { inputs: [], labels: [], identifiers: [], scenarios: [], vehicles: [], hours: [], ignored: 0 };
    for (let id = FIRST_ID[split]; id < FIRST_ID[split] + counts[split]; id++) {
      const { grid, hour } = draw(law, split, id);
      solve(grid, law.size).forEach((label, i) => {
        const entry = { inputs: grid, labels: label, identifiers: i + 1, scenarios: id, vehicles: i + 1, hours: hour };
        for (const [name, value] of Object.entries(entry)) found[name].push(value);
      });
      progress(++done);
    }
    splits[split] = found;
  }
  const { size, seed } = law;
  return { size, seed, vocabulary: VOCABULARY, names: ["<blank>", ...VEHICLES], splits };
}

/* The [name, text] pairs of data that `generate` has made. */
function filesOf(data) {
  const every = (list) => list.filter((_, i) => i % KEYS.length === 0);
  const grids = (list) => `[${list.map((grid) => `[${grid.join()}]`).join()}]`;
  const text = {
    identifiers: JSON.stringify(data.names),
    dataset_summary: JSON.stringify(summaryOf(data, every), null, 2),
  };
  for (const [split, of] of Object.entries(data.splits)) {
    const offsets = [...of.inputs.keys(), of.inputs.length];
    const lists = [of.identifiers, offsets, every(offsets), of.scenarios, of.vehicles.map((v) => KEYS[v - 1])];
    const texts = [grids(of.inputs), grids(of.labels), ...lists.map((list) => JSON.stringify(list))];
    COLUMNS.forEach((name, i) => (text[`${split}_all__${name}`] = texts[i]));
    const whole = JSON.stringify(metadataOf(data, split), null, 2);
    text[`${split}_dataset`] = whole.replace('"mean_puzzle_examples": 1,', '"mean_puzzle_examples": 1.0,');
  }
  return FILES.map((name) => [`${PREFIX}${name}.json`, text[name]]);
}

function metadataOf(data, split) {
  return {
    seq_len: data.size ** 2,
    vocab_size: data.vocabulary,
    pad_id: PAD,
    ignore_label_id: PAD,
    blank_identifier_id: 0,
    num_puzzle_identifiers: data.names.length,
    total_groups: data.splits[split].inputs.length / KEYS.length,
    mean_puzzle_examples: 1, // an example a puzzle, as HRM counts them
    sets: ["all"],
    task: "city_logistics_routing",
    map_dimensions: { width: data.size, height: data.size },
    token_mapping: Object.fromEntries(TOKENS.slice(0, data.vocabulary).map((name, id) => [name, id])),
    generation_method: "paper_compatible",
    split,
  };
}

function summaryOf({ size, seed, vocabulary, splits: { train, test } }, every) {
  return {
    method: "paper_compatible_generation",
    train_examples: train.inputs.length,
    test_examples: test.inputs.length,
    base_scenarios_train: every(train.inputs).length,
    base_scenarios_test: every(test.inputs).length,
    systematic_augmentation: "4_vehicle_variants_per_base_scenario",
    vehicles: KEYS,
    no_overlap: "train_test_base_scenarios_completely_separate",
    hrm_jax: {
      layout: "repaired", size, seed, vocabulary, label_format: "grid",
      hours: { train: every(train.hours), test: every(test.hours) },
    },
  };
}

// ---------------------------------------------------------------- reading

/* The data of files, Map of name -> text; what is wrong with them is an Error of one line. */
function dataOf(texts) {
  const found = {};
  for (const name of FILES) {
    const file = `${PREFIX}${name}.json`;
    if (!texts.has(file)) throw new Error(`${file} is missing; a city's data are ${FILES.length} files`);
    try {
      found[name] = JSON.parse(texts.get(file));
    } catch {
      throw new Error(`${file} is no JSON`);
    }
  }
  if (!isList(found.identifiers, isText)) throw new Error(`${PREFIX}identifiers.json must be a list of names`);
  const hours = found.dataset_summary?.hrm_jax?.hours;
  const splits = Object.fromEntries(SPLITS.map((split) => [split, splitFrom(found, split, hours?.[split])]));
  const [{ map_dimensions: sides, vocab_size }, other] = SPLITS.map((split) => found[`${split}_dataset`]);
  if (sides.width !== other.map_dimensions.width) throw new Error("train and test are of different sizes");
  return { size: sides.width, vocabulary: vocab_size, names: found.identifiers, splits };
}

const isWhole = (value) => Number.isInteger(value) && value >= 0;
const isText = (value) => typeof value === "string";
const isList = (list, entry) => Array.isArray(list) && list.length > 0 && list.every(entry);

function splitFrom(found, split, hours) {
  const { seq_len, vocab_size, ignore_label_id: ignored = null, map_dimensions: sides } = found[`${split}_dataset`] ?? {};
  if (![sides?.width, sides?.height, seq_len].every((side) => isWhole(side) && side > 0)) {
    throw new Error(`${split}_dataset needs seq_len and map_dimensions, of whole numbers`);
  }
  if (sides.width !== sides.height || sides.width ** 2 !== seq_len) {
    throw new Error(`${split}: ${sides.width} x ${sides.height} cells; seq_len is ${seq_len}, and cities are square`);
  }
  if (!isWhole(vocab_size) || vocab_size > 256) throw new Error(`${split}: vocab_size must be a number of tokens`);
  const column = (name, entry) => {
    const list = found[`${split}_all__${name}`];
    if (!isList(list, entry)) throw new Error(`${split}_all__${name} must be a list with entries of its kind`);
    return list;
  };
  const [inputs, labels] = ["inputs", "labels"].map((name) => column(name, Array.isArray));
  const [identifiers, offsets, groups, scenarios] = COLUMNS.slice(2, 6).map((name) => column(name, isWhole));
  const keys = column("vehicle_types", isText);
  for (const [name, list] of Object.entries({ labels, puzzle_identifiers: identifiers, base_scenario_ids: scenarios,
    vehicle_types: keys })) {
    if (list.length !== inputs.length) {
      throw new Error(`${split} ${name}: ${list.length} entries; there are ${inputs.length} inputs`);
    }
  }
  if (offsets.length !== keys.length + 1 || offsets.some((end, n) => end !== n)) {
    throw new Error(`${split} puzzle_indices must rise from 0 to ${keys.length}, one by one`);
  }
  checkGroups(groups, scenarios, keys, split);
  const [read, marked] = [inputs, labels].map((rows, i) => rows.map((row, n) =>
    gridFrom(row, seq_len, vocab_size, `${split} ${COLUMNS[i]}, example ${n}`)));
  read.forEach((grid, n) => checkEnds(grid, `${split} inputs, example ${n}`));
  if (ignored === PAD && !marked.some((label) => label.includes(START))) {
    throw new Error(`${split}: labels are the path alone, and ignore_label_id is 0: nothing but the path would count, ` +
      "and path everywhere be right; allowed for such labels: null");
  }
  return { inputs: read, labels: marked, identifiers, scenarios, vehicles: keys.map((key) => KEYS.indexOf(key) + 1),
    hours: hoursFrom(hours, keys.length / KEYS.length, split), ignored };
}

/* The hour of every example, of those of the scenarios; null where these are not said. */
function hoursFrom(hours, count, split) {
  if (hours === undefined) return null;
  if (!isList(hours, (hour) => isWhole(hour) && hour < 24)) {
    throw new Error(`hrm_jax in the summary: hours of ${split} must be a list of numbers from 0 to 23`);
  }
  if (hours.length !== count) {
    throw new Error(`${split}: ${hours.length} hours in the summary; there are ${count} scenarios`);
  }
  return hours.flatMap((hour) => KEYS.map(() => hour));
}

function gridFrom(row, length, vocabulary, where) {
  if (row?.length !== length || !Array.isArray(row)) throw new Error(`${where}: ${length} tokens are needed`);
  const wrong = row.find((token) => !isWhole(token) || token >= vocabulary);
  if (wrong !== undefined) throw new Error(`${where}: token ${wrong}; the vocabulary is 0 to ${vocabulary - 1}`);
  return Uint8Array.from(row);
}

function checkEnds(grid, where) {
  const count = (token) => grid.reduce((sum, other) => sum + (other === token), 0);
  if (count(START) !== 1 || count(GOAL) !== 1) throw new Error(`${where}: one start and one end are needed`);
}

function checkGroups(groups, scenarios, keys, split) {
  const sizes = groups.slice(1).map((end, i) => end - groups[i]);
  const uneven = sizes.findIndex((size) => size !== KEYS.length);
  if (uneven >= 0) {
    throw new Error(`${split} group_indices: group ${uneven} has ${sizes[uneven]} examples; each has ${KEYS.length}`);
  }
  if (groups[0] !== 0 || groups.at(-1) !== keys.length) {
    throw new Error(`${split} group_indices must rise from 0 to ${keys.length}`);
  }
  const wrong = keys.findIndex((key, n) => key !== KEYS[n % 4] || scenarios[n] !== scenarios[n - (n % 4)]);
  if (wrong >= 0) {
    throw new Error(`${split}, example ${wrong}: a group is one scenario with the vehicles ${KEYS.join(", ")}`);
  }
}

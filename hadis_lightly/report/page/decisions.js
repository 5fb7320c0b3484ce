// Names, moves and all else that a person decides: one map, every change undoable.
// Keys: "name 5", "name 5a" (a half), "accepted 5", "rejected 5", "split 5", "image FILE".
// An image that was moved has a label, null if it is excluded; an example has that of its
// cluster, and follows it.

const STORAGE_KEY = `hadis-lightly ${DATA.run}`;
const MOST_CHARACTERS = 80;
const decided = new Map();
const steps = [];
let stepsDone = 0;
let isKept = true;
const decisionListeners = [];
const onDecision = (listener) => decisionListeners.push(listener);

/** A name as it is kept: one line, no spaces around. */
const tidy = (text) => text.replace(/\s+/g, " ").trim().slice(0, MOST_CHARACTERS);

/** The clusters, and the halves of those that are split. */
function unitsOf(cluster) {
  return decided.has(`split ${cluster}`) ? [`${cluster}a`, `${cluster}b`] : [String(cluster)];
}
const unitOf = (i) => unitsOf(IMAGES.label[i])[IMAGES.half && decided.has(`split ${IMAGES.label[i]}`) ? IMAGES.half[i] : 0];
const givenName = (unit) => decided.get(`name ${unit}`) ?? null;
const unitLabel = (unit) => givenName(unit) ?? `cluster ${unit}`;
const moveOf = (i) => decided.get(`image ${IMAGES.key[i]}`) ?? null;
const isExample = (i) => moveOf(i)?.example === true;
const isMoved = (i) => moveOf(i) !== null && !isExample(i);
const isRejected = (cluster) => decided.has(`rejected ${cluster}`);

/** The label of an image; null if it is excluded. */
function labelOf(i) {
  if (isMoved(i)) return moveOf(i).label;
  return isRejected(IMAGES.label[i]) ? null : unitLabel(unitOf(i));
}

/** All names that clusters or images have, sorted. */
function usedLabels() {
  const names = [...decided].map(([key, value]) => (key.startsWith("name ") ? value : key.startsWith("image ") ? value.label : null));
  return [...new Set(names.filter((name) => name !== null && name !== undefined))].sort(collator.compare);
}

// Changes -----------------------------------------------------------------------

function put(key, value) {
  if (value === undefined) decided.delete(key);
  else decided.set(key, value);
}

/** Makes changes, pairs of key and value (undefined to take away), as one step. */
function decide(words, changes) {
  const patches = changes.map(([key, value]) => [key, decided.get(key), value]).filter(([, before, after]) => JSON.stringify(before) !== JSON.stringify(after));
  if (!patches.length) return;
  steps.length = stepsDone;
  steps.push({ words, patches });
  stepsDone = steps.length;
  for (const [key, , after] of patches) put(key, after);
  tellDecision(words);
}

function undo() {
  if (!stepsDone) return;
  const { words, patches } = steps[--stepsDone];
  for (const [key, before] of patches) put(key, before);
  tellDecision(`Undone: ${words}`, false);
}

function redo() {
  if (stepsDone === steps.length) return;
  const { words, patches } = steps[stepsDone++];
  for (const [key, , after] of patches) put(key, after);
  tellDecision(words);
}

function tellDecision(words, canUndo = true) {
  keep();
  for (const listener of decisionListeners) listener();
  say(words, canUndo);
}

const nameUnit = (unit, text) => decide(tidy(text) ? `Cluster ${unit} is named ${tidy(text)}` : `Cluster ${unit} has no name`, [[`name ${unit}`, tidy(text) || undefined]]);

/** The decision on an image, with the place where its run had put it. */
const record = (i, what) => ({ ...what, cluster: IMAGES.label[i], confidence: IMAGES.confidence[i], distance: IMAGES.distance[i] });

/** Gives images a label, or with null excludes them, or with undefined puts them back. */
function moveImages(list, label) {
  const count = plural(list.length, "image");
  const words = label === undefined ? `${count} put back` : label === null ? `${count} excluded` : `${count} moved to ${label}`;
  decide(words, list.map((i) => [`image ${IMAGES.key[i]}`, label === undefined ? undefined : record(i, { label })]));
}

/** Whether an image has a name that it can be an example of; moved ones are examples as it is. */
const canBeExample = (i) => !moveOf(i) && !isRejected(IMAGES.label[i]) && givenName(unitOf(i)) !== null;

/** Marks images as examples of the names of their clusters. */
function markExamples(list) {
  const able = list.filter(canBeExample);
  const names = [...new Set(able.map(labelOf))];
  if (able.length) decide(`${plural(able.length, "example")} of ${names.join(", ")}`, able.map((i) => [`image ${IMAGES.key[i]}`, record(i, { example: true })]));
  else say(list.every(moveOf) ? "These have been decided by hand before" : "An example needs a name: name its cluster first, or move it to a label");
}

/** The same, or if all of them are examples takes them back. */
const toggleExamples = (list) => (list.every(isExample) ? moveImages(list, undefined) : markExamples(list));

function acceptCluster(cluster) {
  const { match } = CLUSTERS[cluster];
  const name = match !== null && givenName(cluster) === null && unitsOf(cluster).length === 1 ? className(match) : null;
  const changes = [[`accepted ${cluster}`, true], [`rejected ${cluster}`, undefined]];
  if (name !== null) changes.push([`name ${cluster}`, tidy(name)]);
  decide(`${clusterName(cluster)} accepted`, changes);
}

const rejectCluster = (cluster) => decide(`${clusterName(cluster)} rejected: its images are excluded`, [[`rejected ${cluster}`, true], [`accepted ${cluster}`, undefined]]);
const reopenCluster = (cluster) => decide(`${clusterName(cluster)} is open again`, [[`accepted ${cluster}`, undefined], [`rejected ${cluster}`, undefined]]);

/** How much is done. */
function progress() {
  const units = CLUSTERS.flatMap((_, cluster) => unitsOf(cluster).map((unit) => ({ unit, cluster })));
  const count = (test) => units.filter(test).length;
  const byHand = [...decided].filter(([key]) => key.startsWith("image ")).map(([, decision]) => decision);
  const moves = byHand.filter(({ example }) => !example).map(({ label }) => label);
  return {
    total: units.length,
    named: count(({ unit }) => givenName(unit) !== null),
    accepted: count(({ cluster }) => decided.has(`accepted ${cluster}`)),
    rejected: count(({ cluster }) => isRejected(cluster)),
    done: count(({ unit, cluster }) => givenName(unit) !== null || decided.has(`accepted ${cluster}`) || isRejected(cluster)),
    moved: moves.filter((label) => label !== null).length,
    excluded: moves.filter((label) => label === null).length,
    examples: byHand.length - moves.length,
  };
}

// Between visits ----------------------------------------------------------------

/** Keeps the decisions in the browser, where it allows that. */
function keep() {
  try {
    if (decided.size || DATA.names) localStorage.setItem(STORAGE_KEY, JSON.stringify(namesFile()));
    else localStorage.removeItem(STORAGE_KEY);
    isKept = true;
  } catch {
    isKept = false;
  }
}

/** What an earlier visit has decided, or else the names that the run started from. */
function remember() {
  let text = null;
  try {
    text = localStorage.getItem(STORAGE_KEY);
  } catch {
    isKept = false;
  }
  text ??= DATA.names && JSON.stringify(DATA.names);
  try {
    if (text) for (const [key, value] of readNames(text)) put(key, value);
  } catch {
    decided.clear();
  }
}

// Files -------------------------------------------------------------------------

/** All decisions, as names.json has them. */
function namesFile() {
  const file = { format: "hadis-lightly names 1", run: DATA.run, n_clusters: CLUSTERS.length, names: {}, split: [], accepted: [], rejected: [], images: {} };
  for (const [key, value] of decided) {
    const [kind, what] = [key.slice(0, key.indexOf(" ")), key.slice(key.indexOf(" ") + 1)];
    if (kind === "name") file.names[what] = value;
    else if (kind === "image") Object.defineProperty(file.images, what, { value: { ...value, label: labelInFile(what, value) }, enumerable: true });
    else file[kind].push(Number(what));
  }
  // An example of a name that is gone says nothing.
  for (const [key, { label }] of Object.entries(file.images)) if (label === undefined) delete file.images[key];
  return file;
}

/** The same with the images of rejected clusters, for a training that finds other clusters. */
function namesToDownload() {
  const isOut = (_, i) => isRejected(IMAGES.label[i]) && !isMoved(i);
  return { ...namesFile(), rejected_images: IMAGES.key.filter(isOut) };
}

/** The label of an image that was decided on; examples have the name of their cluster. */
function labelInFile(key, { label, example, cluster }) {
  const i = PLACE_OF_KEY.get(key);
  if (!example) return label;
  if (isRejected(cluster)) return undefined;
  return i === undefined ? label : givenName(unitOf(i)) ?? undefined;
}

/** The decisions in a names.json; an Error says what does not fit. */
function readNames(text) {
  let file = null;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
  if (file?.format !== "hadis-lightly names 1") throw new Error("it is no names.json of a report");
  if (file.run !== DATA.run) throw new Error("it was made with the report of another run");
  const pairs = [];
  const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const check = (isRight, what) => {
    if (!isRight) throw new Error(`${what} does not fit`);
  };
  const isName = (value) => typeof value === "string" && tidy(value) !== "";
  for (const kind of ["split", "accepted", "rejected"]) {
    check(Array.isArray(file[kind]) && file[kind].every((cluster) => Number.isInteger(cluster) && CLUSTERS[cluster]), kind);
    for (const cluster of file[kind]) if (kind !== "split" || IMAGES.half) pairs.push([`${kind} ${cluster}`, true]);
  }
  check(isPlain(file.names) && isPlain(file.images), "its content");
  for (const [unit, name] of Object.entries(file.names)) {
    const [, cluster] = /^(\d+)[ab]?$/.exec(unit) ?? [];
    check(CLUSTERS[cluster] && isName(name), `the name of ${unit}`);
    pairs.push([`name ${unit}`, tidy(name)]);
  }
  for (const [key, move] of Object.entries(file.images)) {
    check(isPlain(move) && (move.label === null || isName(move.label)) && CLUSTERS[move.cluster], key);
    const label = move.label === null ? null : tidy(move.label);
    const place = { cluster: move.cluster, confidence: Number(move.confidence), distance: Number(move.distance) };
    const isOfName = move.example === true && ["", "a", "b"].some((half) => file.names[move.cluster + half] === move.label);
    pairs.push([`image ${key}`, { label, ...(isOfName && { example: true }), ...place }]);
  }
  return pairs;
}

/** The label of every image of the page that is not excluded. */
function labelsCsv() {
  const rows = [["file", "label", "confidence", "decided_by"]];
  for (const i of order("name")) {
    const label = labelOf(i);
    if (label === null) continue;
    rows.push([IMAGES.key[i], label, moveOf(i) ? 1 : IMAGES.confidence[i], moveOf(i) ? "hand" : "cluster"]);
  }
  return rows.map((row) => `${row.map(csvField).join(",")}\r\n`).join("");
}

function loadNames(text) {
  const pairs = readNames(text);
  const loaded = new Map(pairs);
  const gone = [...decided.keys()].filter((key) => !loaded.has(key)).map((key) => [key, undefined]);
  decide("names.json loaded", [...gone, ...pairs]);
}

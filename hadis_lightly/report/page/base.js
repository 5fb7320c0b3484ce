"use strict";

// The data, the filters that all sections share, and small helpers.

const DATA = JSON.parse(document.getElementById("data").textContent);
const IMAGES = DATA.images;
const COUNT = IMAGES.key.length;
const CLUSTERS = DATA.clusters;
const PLACE_OF_ROW = new Map(IMAGES.row.map((row, i) => [row, i]));
const PLACE_OF_KEY = new Map(IMAGES.key.map((key, i) => [key, i]));
const LOWER_KEYS = IMAGES.key.map((key) => key.toLowerCase());

const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-US");
const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.0995 ? 1 : 0)} %`;
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
const decimal = (value) =>
  value === null ? "unknown" : Math.abs(value) < 0.01 && value !== 0 ? value.toPrecision(2) : value.toFixed(3);

/** An element with attributes, listeners (functions) and children (text or nodes). */
function el(tag, attributes = {}, ...children) {
  const isSvg = ["svg", "path", "rect", "line", "text", "circle", "g", "title"].includes(tag);
  const node = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const className = (target) => DATA.classNames[target] ?? String(target);

/** Its number with the name that it was given, else that of the class it matches. */
function clusterName(cluster) {
  const { match } = CLUSTERS[cluster];
  const given = [...new Set(unitsOf(cluster).map(givenName))].filter((name) => name !== null);
  const name = given.length ? given.join(" / ") : match === null ? null : className(match);
  return name === null ? `Cluster ${cluster}` : `${cluster} · ${name}`;
}

/** The name of a cluster, which follows when it is renamed. */
function liveName(cluster, isShort = false) {
  const node = el("span", { class: "name", "data-name-of": cluster, "data-short": isShort });
  showName(node);
  return node;
}

function showName(node) {
  const name = clusterName(Number(node.dataset.nameOf));
  node.textContent = "short" in node.dataset ? name.replace(/^Cluster /, "") : name;
}

const TABLEAU = ["#4e79a7", "#f28e2b", "#e15759", "#4fb3ac", "#59a14f", "#d9b32c", "#b07aa1", "#ff8fa3", "#9c755f", "#8b8f96"];

function clusterColor(cluster) {
  if (CLUSTERS.length <= TABLEAU.length) return TABLEAU[cluster];
  // The golden angle keeps neighbours apart, three shades keep distant ones apart.
  const hue = (cluster * 137.508) % 360;
  const [saturation, light] = [[62, 52], [48, 64], [70, 42]][cluster % 3];
  return `hsl(${hue.toFixed(1)} ${saturation}% ${light}%)`;
}

function dot(cluster) {
  const mark = el("span", { class: "dot", "aria-hidden": "true" });
  mark.style.background = clusterColor(cluster);
  return mark;
}

const SORTS = {
  name: { title: "File name" },
  typical: { title: "Cluster, most typical first" },
  "confidence-low": { title: "Lowest confidence", column: "confidence", sign: 1 },
  "confidence-high": { title: "Highest confidence", column: "confidence", sign: -1 },
  distance: { title: "Largest distance", column: "distance", sign: -1 },
  isolation: { title: "Most isolated", column: "isolation", sign: -1 },
};

const collator = new Intl.Collator("en", { numeric: true });
const orders = Object.create(null);

/** All images in the order of a sort, computed once. */
function order(sort) {
  if (orders[sort]) return orders[sort];
  const all = Array.from({ length: COUNT }, (_, i) => i);
  const { column, sign } = SORTS[sort];
  if (sort === "name") all.sort((a, b) => collator.compare(IMAGES.key[a], IMAGES.key[b]));
  else if (column) {
    const values = IMAGES[column].map((value) => (value === null ? Infinity : sign * value));
    // Infinity for both would be NaN: equal values keep their order.
    all.sort((a, b) => (values[a] === values[b] ? a - b : values[a] - values[b]));
  }
  return (orders[sort] = all);
}

// Filters ---------------------------------------------------------------------

// label: a name after "=", or one of LABEL_KINDS; outliers: "only", "none".
const NO_FILTER = { low: 0, high: 100, query: "", label: "", outliers: "" };
const DEFAULTS = { ...NO_FILTER, sort: "name" };
const state = { clusters: new Set(), ...DEFAULTS, image: null };
const LABEL_KINDS = {
  unnamed: { title: "Without a name", fits: (i) => !isMoved(i) && !isRejected(IMAGES.label[i]) && givenName(unitOf(i)) === null },
  hand: { title: "Decided by hand", fits: (i) => moveOf(i) !== null },
  excluded: { title: "Excluded", fits: (i) => labelOf(i) === null },
};
const listeners = [];
const isHit = new Uint8Array(COUNT);
let numHits = COUNT;

const onFilter = (listener) => listeners.push(listener);
const isFiltered = () => state.clusters.size > 0 || Object.entries(NO_FILTER).some(([name, value]) => state[name] !== value);
const showsCluster = (cluster) => state.clusters.size === 0 || state.clusters.has(cluster);

function findHits() {
  const query = state.query.trim().toLowerCase();
  // The sliders show whole per cents; at their ends everything is meant.
  const low = state.low > 0 ? state.low / 100 : -1;
  const high = state.high < 100 ? state.high / 100 : 2;
  const fitsLabel = LABEL_KINDS[state.label]?.fits ?? ((i) => state.label === "" || labelOf(i) === state.label.slice(1));
  const fitsOutlier = (i) => state.outliers === "" || !IMAGES.outlier || (IMAGES.outlier[i] === 1) === (state.outliers === "only");
  numHits = 0;
  for (let i = 0; i < COUNT; i++) {
    const confidence = IMAGES.confidence[i];
    const fits = showsCluster(IMAGES.label[i]) && confidence >= low && confidence <= high && (query === "" || LOWER_KEYS[i].includes(query));
    const hit = fits && fitsOutlier(i) && fitsLabel(i);
    isHit[i] = hit ? 1 : 0;
    numHits += isHit[i];
  }
}

function setFilter(changes) {
  Object.assign(state, changes);
  findHits();
  writeHash();
  for (const listener of listeners) listener();
}

function toggleCluster(cluster) {
  const clusters = new Set(state.clusters);
  if (!clusters.delete(cluster)) clusters.add(cluster);
  setFilter({ clusters });
}

const showAll = () => setFilter({ clusters: new Set(), ...NO_FILTER });

// The view in the address, so that it can be shared ---------------------------

function writeHash() {
  const parts = new URLSearchParams();
  if (state.clusters.size) parts.set("clusters", [...state.clusters].sort((a, b) => a - b).join("."));
  for (const [name, value] of Object.entries(DEFAULTS)) if (state[name] !== value) parts.set(name, state[name]);
  if (state.image !== null) parts.set("image", IMAGES.row[state.image]);
  const hash = parts.toString();
  try {
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  } catch {
    // Some browsers refuse this for files; the page works without.
  }
}

/** Takes the view from the address; false where it names none. */
function readHash() {
  const hash = location.hash.slice(1);
  if (!hash.includes("=")) return false;
  const parts = new URLSearchParams(hash);
  const whole = (text, most) => (/^\d+$/.test(text ?? "") && Number(text) <= most ? Number(text) : null);
  const clusters = (parts.get("clusters") ?? "").split(".").map((text) => whole(text, CLUSTERS.length - 1));
  state.clusters = new Set(clusters.filter((cluster) => cluster !== null));
  state.low = whole(parts.get("low"), 100) ?? 0;
  state.high = Math.max(state.low, whole(parts.get("high"), 100) ?? 100);
  state.query = parts.get("query") ?? "";
  state.label = labelChoices().has(parts.get("label")) ? parts.get("label") : "";
  state.outliers = ["only", "none"].includes(parts.get("outliers")) ? parts.get("outliers") : "";
  state.sort = Object.hasOwn(SORTS, parts.get("sort")) ? parts.get("sort") : DEFAULTS.sort;
  state.image = PLACE_OF_ROW.get(whole(parts.get("image"), Infinity)) ?? null;
  return true;
}

function goTo(id) {
  const section = byId(id);
  section.scrollIntoView();
  section.focus({ preventScroll: true });
}

// A card for every cluster, and the hardest images.

const PER_STRIP = 12;
const CARDS_AT_ONCE = 12;
const HARD_AT_ONCE = 40;

/** Images of every cluster, the most typical first. */
const MEMBERS = CLUSTERS.map(() => []);
for (let i = 0; i < COUNT; i++) MEMBERS[IMAGES.label[i]].push(i);

function strip(title, list) {
  return el("div", { class: "strip" }, el("h4", {}, title), el("div", {}, ...list.map((i) => picture(i, list))));
}

function strips(cluster) {
  const members = MEMBERS[cluster];
  if (!members.length) return el("p", { class: "about" }, "No image lies in this cluster.");
  const units = unitsOf(cluster);
  if (units.length > 1) return el("div", { class: "strips" }, ...units.map((unit) => half(unit, members)));
  if (members.length <= PER_STRIP) return el("div", { class: "strips" }, strip("All of them, most typical first", members));
  const typical = members.slice(0, PER_STRIP);
  const taken = new Set(typical);
  const uncertain = members.filter((i) => !taken.has(i)).sort((a, b) => IMAGES.confidence[a] - IMAGES.confidence[b]);
  return el("div", { class: "strips" }, strip("Most typical", typical), strip("Least certain", uncertain.slice(0, PER_STRIP)));
}

/** One half of a cluster that is split: its name, and its most typical images. */
function half(unit, members) {
  const own = members.filter((i) => unitOf(i) === unit);
  const shown = strip(`${plural(own.length, "image")}${COUNT < DATA.total ? " in this page" : ""}, most typical first`, own.slice(0, PER_STRIP));
  shown.prepend(nameField(unit));
  return shown;
}

/** Where a cluster or a half is named; Enter goes on to the next. */
function nameField(unit) {
  const { match } = CLUSTERS[parseInt(unit, 10)];
  const field = el("input", {
    class: "rename", type: "text", "data-unit": unit, list: "label-names", maxlength: MOST_CHARACTERS,
    autocomplete: "off", spellcheck: "false", "aria-label": `Name of cluster ${unit}`,
    placeholder: match === null || /[ab]$/.test(unit) ? `Name cluster ${unit}` : className(match),
  });
  const show = () => (field.value = givenName(unit) ?? "");
  field.addEventListener("change", () => nameUnit(unit, field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show();
    else if (event.key !== "Enter") return;
    const all = [...document.querySelectorAll(".rename")];
    const next = event.key === "Enter" ? all[all.indexOf(field) + 1] : null;
    field.blur();
    if (next) next.focus();
    else field.closest(".card").focus();
    event.preventDefault();
  });
  show();
  return field;
}

function makeup(cluster) {
  const { classes, size } = CLUSTERS[cluster];
  if (!classes.length || !size) return null;
  const bar = el("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(el("rect", { width: 100, height: 8, fill: "var(--line)" }));
  let left = 0;
  classes.forEach(([, count], at) => {
    const width = (100 * count) / size;
    bar.append(el("rect", { x: left, width: Math.max(0, width - 0.6), height: 8, fill: "var(--accent)", opacity: Math.max(0.18, 1 - 0.28 * at) }));
    left += width;
  });
  const name = (target) => (target < 0 ? "class unknown" : className(target));
  const rows = classes.slice(0, 4).map(([target, count]) => el("li", {}, el("span", {}, name(target)), el("span", {}, percent(count / size))));
  return el("div", { class: "makeup" }, bar, el("ul", { "aria-label": "Classes in it" }, ...rows));
}

/** Of a cluster without a name, the named one that is most like it: perhaps the same. */
function namedTwin(cluster) {
  if (unitsOf(cluster).length > 1 || givenName(cluster) !== null) return null;
  const { order: clusters, matrix, pairs } = DATA.similarity;
  const alike = matrix
    ? clusters.map((other, c) => [other, matrix[clusters.indexOf(cluster)][c]])
    : pairs.filter((pair) => pair.slice(0, 2).includes(cluster)).map(([a, b, cosine]) => [a === cluster ? b : a, cosine]);
  const known = alike.filter(([other]) => unitsOf(other).length === 1 && givenName(other) !== null);
  return known.length ? known.reduce((best, pair) => (pair[1] > best[1] ? pair : best))[0] : null;
}

function card(cluster) {
  const { size, confidence } = CLUSTERS[cluster];
  const showCluster = () => {
    setFilter({ clusters: new Set([cluster]) });
    goTo("images");
  };
  const button = (name, click) => el("button", { type: "button", class: name, click });
  const [accept, reject, split, same] = [
    button("accept", () => (decided.has(`accepted ${cluster}`) ? reopenCluster : acceptCluster)(cluster)),
    button("reject", () => (isRejected(cluster) ? reopenCluster : rejectCluster)(cluster)),
    button("halve", () => splitCluster(cluster)),
    button("twin", () => nameUnit(String(cluster), givenName(namedTwin(cluster)))),
  ];
  const name = el("div", { class: "title" });
  const node = el(
    "article",
    { class: "card", "data-cluster": cluster, tabindex: -1 },
    el(
      "div",
      {},
      el("h3", {}, dot(cluster), `Cluster ${cluster}`, el("span", { class: "mark" })),
      name,
      el("p", { class: "about" }, `${plural(size, "image")}, ${percent(size / DATA.total)}`, el("br"), `Confidence ${percent(confidence)} on average`),
      makeup(cluster),
      el("div", { class: "acts" }, accept, reject, split, same, el("button", { type: "button", class: "all", click: showCluster, disabled: !MEMBERS[cluster].length }, "See its images")),
    ),
    el("div", { class: "strips" }),
  );
  let drawn = null;
  node.update = () => {
    const units = unitsOf(cluster);
    if (drawn !== units.join()) {
      drawn = units.join();
      name.replaceChildren(...(units.length > 1 ? [] : [nameField(units[0])]));
      dropPictures(node.lastChild);
      node.lastChild.replaceWith(strips(cluster));
      drawWaiting();
    }
    for (const field of node.querySelectorAll(".rename")) if (field !== document.activeElement) field.value = givenName(field.dataset.unit) ?? "";
    const [isAccepted, isOut, twin] = [decided.has(`accepted ${cluster}`), isRejected(cluster), namedTwin(cluster)];
    node.classList.toggle("accepted", isAccepted);
    node.classList.toggle("rejected", isOut);
    node.setAttribute("aria-label", `${clusterName(cluster)}${isAccepted ? ", accepted" : isOut ? ", rejected" : ""}`);
    node.querySelector(".mark").textContent = isAccepted ? "✓ accepted" : isOut ? "rejected" : "";
    accept.textContent = isAccepted ? "Reopen" : "Accept";
    reject.textContent = isOut ? "Reopen" : "Reject";
    split.textContent = units.length > 1 ? "Join again" : "Split in two";
    split.hidden = !IMAGES.half || size < 2;
    same.textContent = twin === null ? "Same as another" : `Same as ${clusterName(twin)}`;
    same.hidden = twin === null;
  };
  node.update();
  return node;
}

function splitCluster(cluster) {
  const isSplit = decided.has(`split ${cluster}`);
  decide(`Cluster ${cluster} ${isSplit ? "is whole again" : "is split in two"}`, [[`split ${cluster}`, isSplit ? undefined : true]]);
}

/** Where a cluster first joins another one in the tree: high if they hardly differ. */
function closestLinks() {
  const links = CLUSTERS.map(() => 0);
  const { merges = [], links: values = [] } = DATA.tree ?? {};
  merges.forEach((pair, i) => pair.forEach((at) => at < CLUSTERS.length && (links[at] = values[i])));
  return links;
}

/** All clusters: by number, or those first that are open and most need a look. */
function clusterOrder(name) {
  const all = CLUSTERS.map((_, cluster) => cluster);
  if (name === "number") return all;
  const rank = (values) => {
    const places = [...all].sort((a, b) => values[a] - values[b]);
    return all.map((cluster) => places.indexOf(cluster));
  };
  const [doubt, linked] = [rank(CLUSTERS.map(({ confidence, size }) => (size ? -confidence : -2))), rank(closestLinks())];
  const isDone = (cluster) => decided.has(`accepted ${cluster}`) || isRejected(cluster) || givenName(cluster) !== null;
  return all.sort((a, b) => isDone(a) - isDone(b) || doubt[b] + linked[b] - doubt[a] - linked[a] || a - b);
}

/** Goes to the card after another one, or before; first to the first. */
function goToCard(card, step) {
  const cards = byId("cards");
  const all = [...cards.children];
  const at = card ? all.indexOf(card) + step : 0;
  if (at >= all.length && !byId("more-cards").hidden) byId("more-cards").click();
  const next = cards.children[at];
  if (!next) return;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "center" });
}

function startCards() {
  const cards = byId("cards");
  const more = byId("more-cards");
  let shown = CARDS_AT_ONCE;
  let chosen = null;
  let ranked = clusterOrder("need");
  const render = (list) => {
    dropPictures(cards);
    cards.append(...list.slice(0, shown).map(card));
    finish(list);
  };
  const finish = (list) => {
    more.hidden = list.length <= shown;
    more.textContent = `Show more clusters (${number(Math.max(0, list.length - shown))} left)`;
    drawWaiting();
  };
  const update = () => {
    const list = ranked.filter(showsCluster);
    if (list.join() === chosen) return;
    chosen = list.join();
    shown = CARDS_AT_ONCE;
    render(list);
  };
  byId("card-order").addEventListener("change", (event) => {
    ranked = clusterOrder(event.target.value);
    update();
  });
  more.addEventListener("click", () => {
    const list = ranked.filter(showsCluster);
    const next = list.slice(shown, shown + CARDS_AT_ONCE).map(card);
    shown += CARDS_AT_ONCE;
    cards.append(...next);
    next[0].querySelector("input, button")?.focus();
    finish(list);
  });
  onFilter(update);
  onDecision(() => [...cards.children].forEach((node) => node.update()));
}

const RANKINGS = {
  isolation: {
    title: "Isolation", sort: "isolation", column: "isolation", show: decimal,
    words: "The images that are like few others: far even from their nearest among images drawn at random. Odd ones, and kinds of which there are few.",
  },
  confidence: {
    title: "Lowest confidence", sort: "confidence-low", column: "confidence", show: percent,
    words: "The images that could almost as well have gone to another cluster.",
  },
  distance: {
    title: "Largest distance", sort: "distance", column: "distance", show: decimal,
    words: "The images that lie farthest from the middle of their cluster: outliers, or kinds of image for which there is no cluster.",
  },
};

function startHardest() {
  let ranking = Object.keys(RANKINGS)[0];
  let shown = HARD_AT_ONCE;
  const grid = byId("hard-grid");
  const buttons = Object.entries(RANKINGS).map(([name, { title }]) =>
    el("button", { type: "button", role: "radio", "data-ranking": name, click: () => choose(name) }, title),
  );
  const choose = (name) => {
    ranking = name;
    shown = HARD_AT_ONCE;
    render();
  };
  const render = () => {
    const { sort, column, show, words } = RANKINGS[ranking];
    for (const button of buttons) {
      const isChosen = button.dataset.ranking === ranking;
      button.setAttribute("aria-checked", isChosen);
      button.tabIndex = isChosen ? 0 : -1;
    }
    byId("hardest-words").textContent = words;
    const list = order(sort).filter((i) => showsCluster(IMAGES.label[i]) && IMAGES[column][i] !== null);
    dropPictures(grid);
    grid.append(...list.slice(0, shown).map((i) => tile(i, list, show(IMAGES[column][i]))));
    if (!list.length) grid.append(el("p", { class: "empty" }, "No image here."));
    byId("more-hard").hidden = list.length <= shown;
    drawWaiting();
  };
  byId("rankings").append(...buttons);
  byId("rankings").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const names = Object.keys(RANKINGS);
    const next = (names.indexOf(ranking) + step + names.length) % names.length;
    choose(names[next]);
    buttons[next].focus();
    event.preventDefault();
  });
  byId("more-hard").addEventListener("click", () => {
    const before = shown;
    shown += HARD_AT_ONCE;
    render();
    grid.children[before]?.querySelector("button").focus();
  });
  let chosen = null;
  onFilter(() => {
    const now = [...state.clusters].join();
    if (now === chosen) return;
    chosen = now;
    shown = HARD_AT_ONCE;
    render();
  });
}

/** A picture with a line below. */
function tile(i, list, text, forgets = false) {
  return el("div", { class: "tile" }, picture(i, list, forgets), el("p", {}, dot(IMAGES.label[i]), el("span", { title: IMAGES.key[i] }, text)));
}

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
  if (members.length <= PER_STRIP) return el("div", { class: "strips" }, strip("All of them, most typical first", members));
  const typical = members.slice(0, PER_STRIP);
  const taken = new Set(typical);
  const uncertain = members.filter((i) => !taken.has(i)).sort((a, b) => IMAGES.confidence[a] - IMAGES.confidence[b]);
  return el("div", { class: "strips" }, strip("Most typical", typical), strip("Least certain", uncertain.slice(0, PER_STRIP)));
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

function card(cluster) {
  const { size, confidence } = CLUSTERS[cluster];
  const showCluster = () => {
    setFilter({ clusters: new Set([cluster]) });
    goTo("images");
  };
  return el(
    "article",
    { class: "card", "data-cluster": cluster, "aria-label": clusterName(cluster) },
    el(
      "div",
      {},
      el("h3", {}, dot(cluster), clusterName(cluster)),
      el("p", { class: "about" }, `${plural(size, "image")}, ${percent(size / DATA.total)}`, el("br"), `Confidence ${percent(confidence)} on average`),
      makeup(cluster),
      el("button", { type: "button", class: "all", click: showCluster, disabled: !MEMBERS[cluster].length }, "See its images"),
    ),
    strips(cluster),
  );
}

function startCards() {
  const cards = byId("cards");
  const more = byId("more-cards");
  let shown = CARDS_AT_ONCE;
  let chosen = null;
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
    const list = CLUSTERS.map((_, cluster) => cluster).filter(showsCluster);
    if (list.join() === chosen) return;
    chosen = list.join();
    shown = CARDS_AT_ONCE;
    render(list);
  };
  more.addEventListener("click", () => {
    const list = CLUSTERS.map((_, cluster) => cluster).filter(showsCluster);
    const next = list.slice(shown, shown + CARDS_AT_ONCE).map(card);
    shown += CARDS_AT_ONCE;
    cards.append(...next);
    next[0].querySelector("button")?.focus();
    finish(list);
  });
  onFilter(update);
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

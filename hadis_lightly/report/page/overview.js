// Title, scores, what was run, and the sizes of the clusters.

function startOverview() {
  document.querySelector(".brand").textContent = DATA.title;
  document.querySelector("h1").textContent = DATA.title;
  const shown = COUNT < DATA.total ? ` This page holds ${number(COUNT)} of them: the most typical, the least certain and the oddest, and a random choice of the rest. All numbers are of all ${number(DATA.total)}.` : "";
  byId("lead").textContent = `${plural(DATA.total, "image")} in ${plural(CLUSTERS.length, "cluster")}.${shown}`;
  byId("scores").append(
    ...DATA.scores.map(({ title, text, words }) => el("div", { class: "score" }, el("h3", {}, title), el("b", {}, text), el("p", {}, words))),
  );
  if (DATA.warnings.length) {
    const list = el("ul", {}, ...DATA.warnings.map((text) => el("li", {}, text)));
    byId("warnings").append(el("div", { class: "note" }, el("strong", {}, "Look at these first"), list));
  }
  byId("summary").append(...DATA.summary.flatMap(([name, value]) => fact(name, value)));
  if (DATA.leftOut.length) {
    const list = el("ul", {}, ...DATA.leftOut.map((text) => el("li", {}, text)));
    fold(`${plural(DATA.leftOut.length, "file")} left out, because they could not be read`, list);
  }
  const rows = flatten(DATA.settings);
  if (rows.length) fold("All settings", el("dl", {}, ...rows.flatMap(([name, value]) => fact(name, value))));
}

function fold(title, content) {
  const body = el("div", { tabindex: 0, role: "group", "aria-label": title }, content);
  byId("folds").append(el("details", { class: "fold" }, el("summary", {}, title), body));
}

function flatten(settings, prefix = "") {
  return Object.entries(settings).flatMap(([name, value]) => {
    const isNested = value !== null && typeof value === "object" && !Array.isArray(value);
    if (isNested) return flatten(value, `${prefix}${name}.`);
    return [[prefix + name, value === null ? "none" : Array.isArray(value) ? value.join(", ") : String(value)]];
  });
}

function startSizes() {
  const bars = byId("bars");
  const largest = Math.max(...CLUSTERS.map(({ size }) => size), 1);
  const bySize = CLUSTERS.map((_, cluster) => cluster).sort((a, b) => CLUSTERS[b].size - CLUSTERS[a].size || a - b);
  const isMany = CLUSTERS.length > 36;
  bars.classList.toggle("many", isMany);
  for (const cluster of bySize) {
    const { size } = CLUSTERS[cluster];
    const share = el("rect", { width: (100 * size) / largest, height: 10, rx: 0, fill: clusterColor(cluster) });
    const back = el("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, share);
    const text = isMany ? number(size) : `${number(size)} · ${percent(size / DATA.total)}`;
    bars.append(
      el(
        "button",
        {
          type: "button", "aria-pressed": "false", "data-cluster": cluster,
          title: `${clusterName(cluster)}: ${plural(size, "image")}, ${percent(size / DATA.total)}`,
          click: () => toggleCluster(cluster),
        },
        dot(cluster),
        liveName(cluster, isMany),
        back,
        el("span", { class: "number" }, text),
      ),
    );
  }
  onFilter(() => {
    bars.classList.toggle("chosen", state.clusters.size > 0);
    for (const button of bars.children) button.setAttribute("aria-pressed", state.clusters.has(Number(button.dataset.cluster)));
  });
}

function startPill() {
  const pill = byId("pill");
  pill.querySelector("button").addEventListener("click", showAll);
  onFilter(() => {
    pill.hidden = !isFiltered();
    const chosen = [...state.clusters];
    const clusters = chosen.length === 1 ? clusterName(chosen[0]) : chosen.length ? plural(chosen.length, "cluster") : "Filtered";
    pill.querySelector("span").textContent = `${clusters}: ${plural(numHits, "image")}`;
  });
}

/** The list of sections, with the one in sight marked. */
function startNavigation() {
  const titles = { sizes: "Sizes", clusters: "Clusters", hardest: "Odd", map: "Map", similarity: "Alike", tree: "Tree", numbers: "How many", curves: "Training", confusion: "Classes", images: "All images" };
  const links = new Map();
  for (const [id, title] of Object.entries(titles)) {
    if (byId(id).hidden) continue;
    links.set(id, el("a", { href: `#${id}` }, title));
    byId("nav").append(el("li", {}, links.get(id)));
  }
  document.querySelector(".bar").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    goTo(link.hash.slice(1));
  });
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const link = links.get(target.id);
        if (!isIntersecting) link.removeAttribute("aria-current");
        else {
          link.setAttribute("aria-current", "true");
          byId("nav").scrollTo({ left: link.offsetLeft - byId("nav").offsetLeft - 80 });
        }
      }
    },
    { rootMargin: "-35% 0px -64% 0px" },
  );
  for (const id of links.keys()) watch.observe(byId(id));
}

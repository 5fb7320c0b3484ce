// All images: filter, sort, copy, save. Tiles are made as the end of the list comes near.

const TILES_AT_ONCE = 60;

function csvField(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(list) {
  const columns = ["key", "cluster", "confidence", "distance", "isolation"];
  if (IMAGES.outlier) columns.push("outlier");
  if (IMAGES.target) columns.push("class");
  const rows = list.map((i) => {
    const row = [IMAGES.key[i], IMAGES.label[i], IMAGES.confidence[i], IMAGES.distance[i], IMAGES.isolation[i]];
    if (IMAGES.outlier) row.push(IMAGES.outlier[i]);
    if (IMAGES.target) row.push(IMAGES.target[i] < 0 ? "" : className(IMAGES.target[i]));
    return row;
  });
  return [columns, ...rows].map((row) => `${row.map(csvField).join(",")}\r\n`).join("");
}

function saveText(name, text, type = "text/csv") {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** The check boxes of the clusters. */
function startClusterMenu() {
  const menu = byId("cluster-menu");
  const boxes = CLUSTERS.map(({ size }, cluster) => {
    const box = el("input", { type: "checkbox", change: () => toggleCluster(cluster) });
    byId("cluster-list").append(el("label", {}, box, dot(cluster), liveName(cluster), el("span", {}, number(size))));
    return box;
  });
  onFilter(() => {
    boxes.forEach((box, cluster) => (box.checked = state.clusters.has(cluster)));
    const chosen = [...state.clusters];
    byId("cluster-choice").textContent = chosen.length === 0 ? "All" : chosen.length === 1 ? clusterName(chosen[0]) : `${chosen.length} clusters`;
  });
  document.addEventListener("click", (event) => !menu.contains(event.target) && (menu.open = false));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

/** What images can be filtered by: value and title of every label and kind of label. */
function labelChoices() {
  const names = usedLabels().map((name) => [`=${name}`, name]);
  return new Map([["", "All"], ...names, ...Object.entries(LABEL_KINDS).map(([kind, { title }]) => [kind, title])]);
}

function startLabelFilter() {
  const [label, outliers] = [byId("label-choice"), byId("outlier-choice")];
  const list = () => {
    label.replaceChildren(...[...labelChoices()].map(([value, title]) => el("option", { value }, title)));
    label.value = state.label;
  };
  label.addEventListener("change", () => setFilter({ label: label.value }));
  outliers.addEventListener("change", () => setFilter({ outliers: outliers.value }));
  outliers.closest(".field").hidden = !IMAGES.outlier;
  list();
  onFilter(() => {
    label.value = state.label;
    outliers.value = state.outliers;
  });
  // The images in view stay while one works on them, unless the label is gone.
  onDecision(() => {
    if (!labelChoices().has(state.label)) setFilter({ label: "" });
    list();
  });
}

function startFilters() {
  const [low, high] = [byId("low"), byId("high")];
  byId("sort").append(...Object.entries(SORTS).map(([name, { title }]) => el("option", { value: name }, title)));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("query").addEventListener("input", (event) => setFilter({ query: event.target.value }));
  byId("sort").addEventListener("change", (event) => setFilter({ sort: event.target.value }));
  low.addEventListener("input", () => setFilter({ low: Number(low.value), high: Math.max(state.high, Number(low.value)) }));
  high.addEventListener("input", () => setFilter({ high: Number(high.value), low: Math.min(state.low, Number(high.value)) }));
  onFilter(() => {
    low.value = state.low;
    high.value = state.high;
    // Where both thumbs stand at the right end the left one must be within reach.
    low.style.zIndex = state.low > 50 ? 2 : 1;
    high.style.zIndex = state.low > 50 ? 1 : 2;
    byId("range-text").textContent = `${state.low} to ${state.high} %`;
    byId("sort").value = state.sort;
    if (byId("query").value !== state.query) byId("query").value = state.query;
  });
  startClusterMenu();
  startLabelFilter();
}

function startBrowser() {
  const grid = byId("grid");
  let list = [];
  let shown = 0;
  const extend = () => {
    const next = list.slice(shown, shown + TILES_AT_ONCE);
    shown += next.length;
    grid.append(...next.map((i) => tile(i, list, IMAGES.key[i], true)));
  };
  const end = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && extendWhileNear(), { rootMargin: "900px 0px" });
  const extendWhileNear = () => {
    if (shown >= list.length) return;
    extend();
    // The observer tells of a change only: look again once this is laid out.
    end.unobserve(byId("end"));
    end.observe(byId("end"));
  };
  const render = () => {
    list = order(state.sort).filter((i) => isHit[i]);
    shown = 0;
    dropPictures(grid);
    extend();
    end.unobserve(byId("end"));
    end.observe(byId("end"));
    if (!list.length) grid.append(el("p", { class: "empty" }, "No image fits. Widen the filters, or show all."));
    const part = COUNT < DATA.total ? " in this page" : "";
    byId("count").textContent = list.length === COUNT ? `${plural(COUNT, "image")}${part}` : `${number(list.length)} of ${plural(COUNT, "image")}${part}`;
    for (const id of ["copy-names", "save-csv"]) byId(id).disabled = !list.length;
  };
  const words = COUNT < DATA.total ? `Here are ${number(COUNT)} of the ${number(DATA.total)} images; the rest is in the numbers only. ` : "";
  byId("images-words").textContent = `${words}Find, filter and sort them, and take the list with you.`;
  byId("copy-names").addEventListener("click", (event) => copyText(list.map((i) => IMAGES.key[i]).join("\n"), event.target));
  byId("save-csv").addEventListener("click", () => saveText("images.csv", csvOf(list)));
  startFilters();
  onFilter(render);
}

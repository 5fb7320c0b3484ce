// Matrices of clusters and classes, drawn on a canvas that says what is under the pointer.

const SCALE = window.devicePixelRatio || 1;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const redraws = [];

/** Called now, on a change of size, and of light to dark. */
function drawsItself(parent, draw) {
  redraws.push(draw);
  new ResizeObserver(draw).observe(parent);
}

/**
 * A heat map.
 * @param {object} what rows() and columns() (names), values, strength(value) in [0, 1],
 *   text(row, column) for the line below, label(value) for a cell, choose(row, column).
 */
function heatMap(parent, what) {
  const { values, label } = what;
  let [rows, columns] = [what.rows(), what.columns()];
  const canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": what.title });
  const line = el("p", { "aria-live": "polite" }, what.hint);
  parent.append(canvas, line);
  let cell = 1;
  let [left, top] = [0, 0];
  let chosen = null;

  const draw = () => {
    const width = parent.clientWidth;
    if (!width) return;
    [rows, columns] = [what.rows(), what.columns()]; // names may have changed
    const context = canvas.getContext("2d");
    const font = "12px system-ui, sans-serif";
    context.font = font;
    const longest = (names) => Math.min(width * 0.24, Math.max(...names.map((name) => context.measureText(name).width)) + 12);
    left = longest(rows);
    cell = Math.min(64, (width - left) / columns.length);
    const hasNames = cell >= 11;
    if (!hasNames) left = 0;
    cell = Math.min(64, (width - left) / columns.length);
    top = hasNames ? Math.min(110, longest(columns)) : 0;
    const height = top + cell * rows.length;
    canvas.width = Math.round(width * SCALE);
    canvas.height = Math.round(height * SCALE);
    canvas.style.height = `${height}px`;
    context.scale(SCALE, SCALE);
    context.font = font;
    if (hasNames) drawNames(context);
    const gap = cell > 9 ? 1.5 : 0;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const [accent, fill, ink, inverse] = ["--accent", "--fill", "--ink", "--accent-ink"].map(css);
    values.forEach((row, r) =>
      row.forEach((value, c) => {
        const strength = what.strength(value, r, c);
        context.beginPath();
        context.roundRect(left + c * cell, top + r * cell, cell - gap, cell - gap, gap ? Math.min(4, cell / 8) : 0);
        context.fillStyle = fill;
        context.fill();
        context.fillStyle = accent;
        context.globalAlpha = strength;
        context.fill();
        context.globalAlpha = 1;
        const words = label(value, r, c);
        if (cell < 30 || words === "") return;
        context.fillStyle = strength > 0.62 ? inverse : ink;
        context.font = `${cell > 40 ? 12 : 10}px system-ui, sans-serif`;
        context.fillText(words, left + c * cell + (cell - gap) / 2, top + r * cell + (cell - gap) / 2);
      }),
    );
    if (chosen) {
      context.strokeStyle = css("--ink");
      context.lineWidth = 2;
      context.strokeRect(left + chosen[1] * cell, top + chosen[0] * cell, cell - gap, cell - gap);
    }
  };

  const drawNames = (context) => {
    context.fillStyle = css("--soft");
    context.textBaseline = "middle";
    context.textAlign = "right";
    rows.forEach((name, r) => context.fillText(shortened(context, name, left - 10), left - 8, top + (r + 0.5) * cell));
    context.textAlign = "left";
    columns.forEach((name, c) => {
      context.save();
      context.translate(left + (c + 0.5) * cell, top - 8);
      context.rotate(-Math.PI / 2);
      context.fillText(shortened(context, name, top - 10), 0, 0);
      context.restore();
    });
  };

  const point = (row, column) => {
    const inside = row >= 0 && row < rows.length && column >= 0 && column < columns.length;
    chosen = inside ? [row, column] : null;
    line.textContent = inside ? what.text(row, column) : what.hint;
    draw();
  };
  canvas.addEventListener("pointermove", (event) => point(Math.floor((event.offsetY - top) / cell), Math.floor((event.offsetX - left) / cell)));
  canvas.addEventListener("pointerleave", () => point(-1, -1));
  canvas.addEventListener("blur", () => point(-1, -1));
  canvas.addEventListener("click", () => chosen && what.choose(...chosen));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      const [row, column] = chosen ?? [0, 0];
      const within = (at, length) => Math.max(0, Math.min(length - 1, at));
      point(within(row + (chosen ? step[0] : 0), rows.length), within(column + (chosen ? step[1] : 0), columns.length));
    } else if (event.key === "Enter" && chosen) what.choose(...chosen);
    else return;
    event.preventDefault();
  });
  drawsItself(parent, draw);
}

function shortened(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end--;
  return `${text.slice(0, end)}…`;
}

function showClusters(...clusters) {
  setFilter({ clusters: new Set(clusters), low: 0, high: 100, query: "" });
}

function startSimilarity() {
  const { order: clusters, matrix, pairs } = DATA.similarity;
  byId("similarity").hidden = CLUSTERS.length < 2;
  const where = matrix ? "Similar clusters stand side by side." : "With so many clusters these are the most similar pairs.";
  byId("similarity-words").textContent = `How alike the middles of two clusters are: 1 is the same, 0 unrelated. Two that are nearly the same may be one kind of image, cut in two. ${where}`;
  const items = pairs.map(([a, b, cosine]) => {
    const pictures = [a, b].map((cluster) => {
      const canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
      if (MEMBERS[cluster].length) drawPicture(canvas, MEMBERS[cluster][0]);
      return canvas;
    });
    const show = () => showClusters(a, b);
    const parts = [el("span", { class: "pair" }, ...pictures), el("span", { class: "names" }, liveName(a), " and ", liveName(b)), el("span", { class: "number" }, cosine.toFixed(2))];
    return el("li", {}, el("button", { type: "button", title: "See these two", click: show }, ...parts));
  });
  byId("similarity-pairs").append(...items);
  if (!matrix) {
    byId("similarity-matrix").parentElement.classList.add("alone");
    byId("similarity-matrix").hidden = true;
    return;
  }
  // Of what is not alike nothing is seen; 0.5 is alike even where no pair is more so.
  const high = Math.max(...matrix.flatMap((row, r) => row.filter((_, c) => c !== r)), 0.5);
  heatMap(byId("similarity-matrix"), {
    rows: () => clusters.map(clusterName),
    columns: () => clusters.map(clusterName),
    values: matrix,
    title: "Similarity of every cluster to every other; the most similar pairs are in the list",
    hint: "Point at a square to see which two it compares.",
    strength: (value, r, c) => (r === c ? 0 : Math.max(0, value) / high),
    label: (value, r, c) => (r === c ? "" : value.toFixed(2)),
    text: (r, c) => (r === c ? clusterName(clusters[r]) : `${clusterName(clusters[r])} and ${clusterName(clusters[c])}: ${matrix[r][c].toFixed(3)}`),
    choose: (r, c) => showClusters(clusters[r], clusters[c]),
  });
}

function startConfusion() {
  const section = byId("confusion");
  section.hidden = !DATA.confusion;
  if (!DATA.confusion) return;
  const { classes, clusters, counts, mix_ups: mixUps } = DATA.confusion;
  const items = mixUps.map(([target, cluster, count]) => {
    return el("li", {}, el("button", { type: "button", title: "See this cluster", click: () => showClusters(cluster) }, el("span", { class: "names" }, `${className(target)} in `, liveName(cluster)), el("span", { class: "number" }, number(count))));
  });
  byId("mix-ups").append(...items);
  if (!items.length) byId("mix-ups").append(el("li", {}, "None: every image lies with its class."));
  if (!counts) {
    byId("confusion-matrix").parentElement.classList.add("alone");
    byId("confusion-matrix").hidden = true;
    return;
  }
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  heatMap(byId("confusion-matrix"), {
    rows: () => classes.map(className),
    columns: () => clusters.map((cluster) => `Cluster ${cluster}`),
    values: counts,
    title: "Images of every class in every cluster; the most frequent mix-ups are in the list",
    hint: "Point at a square to see its numbers.",
    strength: (value, r) => Math.sqrt(value / Math.max(1, totals[r])),
    label: (value) => (value ? String(value) : ""),
    text: (r, c) => `${className(classes[r])} in ${clusterName(clusters[c])}: ${number(counts[r][c])} of ${number(totals[r])}, ${percent(counts[r][c] / Math.max(1, totals[r]))}`,
    choose: (r, c) => showClusters(clusters[c]),
  });
}

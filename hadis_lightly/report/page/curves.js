// Scores and losses against epochs, and the signs of each number of clusters, each in a
// chart of its own.

const CHART = { width: 340, height: 150, left: 40, right: 8, top: 8, bottom: 22 };

const shortNumber = (value) => (Math.abs(value) >= 1000 ? value.toPrecision(3) : String(Number(value.toPrecision(3))));

/** A curve of values against `at`, which are epochs or numbers of clusters; `mark` is one of them. */
function chart({ title, at: places, values, kind, unit = "epoch", mark = null }) {
  const points = places.map((place, i) => [place, values[i]]).filter(([, value]) => value !== null);
  if (!points.length) return null;
  const { width, height, left, right, top, bottom } = CHART;
  const [first, last] = [Math.min(...places), Math.max(...places)];
  let [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  if (high - low < 1e-9) [low, high] = [low - 0.05 * (Math.abs(low) || 1), high + 0.05 * (Math.abs(high) || 1)];
  const x = (epoch) => left + ((epoch - first) / Math.max(last - first, 1e-9)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: from ${decimal(points[0][1])} to ${decimal(points.at(-1)[1])}, ${unit} ${shortNumber(first)} to ${shortNumber(last)}` });
  const warm = unit === "epoch" ? Math.min(DATA.warmupEpochs, last) : 0;
  if (warm > first) {
    svg.append(el("rect", { class: "warm", x: left, y: top, width: x(warm) - left, height: height - top - bottom }, el("title", {}, "warm-up")));
    if (x(warm) - left > 50) svg.append(el("text", { x: left + 6, y: height - bottom - 6 }, "warm-up"));
  }
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(el("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(el("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, shortNumber(value)));
  }
  svg.append(el("text", { x: left, y: height - 5 }, shortNumber(first)));
  if (last > first) svg.append(el("text", { x: width - right, y: height - 5, "text-anchor": "end" }, `${unit} ${shortNumber(last)}`));
  if (mark !== null) svg.append(el("line", { class: "cut", x1: x(mark), x2: x(mark), y1: top, y2: height - bottom }));
  const path = points.map(([epoch, value], at) => `${at ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const rest = points.find(([place]) => place === mark) ?? points.at(-1);
  const spot = el("circle", { class: "spot", r: 3.5 });
  svg.append(el("path", { class: "curve", d: path }), spot);
  const readout = el("span", {});
  const show = ([epoch, value]) => {
    readout.textContent = `${kind === "score" ? value.toFixed(3) : decimal(value)} at ${unit} ${shortNumber(epoch)}`;
    spot.setAttribute("cx", x(epoch));
    spot.setAttribute("cy", y(value));
  };
  show(rest);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    show(points.reduce((best, point) => (Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best)));
  });
  svg.addEventListener("pointerleave", () => show(rest));
  return el("figure", { class: "chart" }, el("figcaption", {}, el("strong", {}, title), readout), svg);
}

/** What the number of clusters was chosen by. */
function startNumbers() {
  byId("numbers").hidden = !DATA.numbers;
  if (byId("numbers").hidden) return;
  const { chosen: mark, words, curves } = DATA.numbers;
  byId("numbers-charts").append(...curves.map((curve) => chart({ ...curve, kind: "score", unit: "K", mark })).filter((figure) => figure !== null));
  byId("numbers-words").textContent = `${words[0]}. The dashed line is the number that was chosen, the one of the highest score: the silhouette, less where the clusters of two halves of the images do not agree beyond chance or the weakest one dissolves.`;
  byId("numbers-line").textContent = `Chosen: ${words.slice(1).join(" ")}.`;
}

function startCurves() {
  const charts = DATA.curves.map(chart).filter((figure) => figure !== null);
  byId("curves").hidden = !charts.length;
  byId("charts").append(...charts);
  const warm = DATA.warmupEpochs > 0 ? " During the warm-up, shaded, the clusters do not yet take part in the training." : "";
  byId("curves-words").textContent = `Scores after each clustering, and the mean losses of each epoch.${warm}`;
}

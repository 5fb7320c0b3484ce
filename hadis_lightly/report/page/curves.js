// Scores and losses against epochs, each in a chart of its own.

const CHART = { width: 340, height: 150, left: 40, right: 8, top: 8, bottom: 22 };

const shortNumber = (value) => (Math.abs(value) >= 1000 ? value.toPrecision(3) : String(Number(value.toPrecision(3))));

function chart({ title, epochs, values, kind }) {
  const points = epochs.map((epoch, at) => [epoch, values[at]]).filter(([, value]) => value !== null);
  if (!points.length) return null;
  const { width, height, left, right, top, bottom } = CHART;
  const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
  let [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  if (high - low < 1e-9) [low, high] = [low - 0.05 * (Math.abs(low) || 1), high + 0.05 * (Math.abs(high) || 1)];
  const x = (epoch) => left + ((epoch - first) / Math.max(last - first, 1e-9)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: from ${decimal(points[0][1])} to ${decimal(points.at(-1)[1])} over the epochs` });
  const warm = Math.min(DATA.warmupEpochs, last);
  if (DATA.warmupEpochs > 0 && warm > first) {
    svg.append(el("rect", { class: "warm", x: left, y: top, width: x(warm) - left, height: height - top - bottom }, el("title", {}, "warm-up")));
    if (x(warm) - left > 50) svg.append(el("text", { x: left + 6, y: height - bottom - 6 }, "warm-up"));
  }
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(el("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(el("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, shortNumber(value)));
  }
  svg.append(el("text", { x: left, y: height - 5 }, shortNumber(first)));
  if (last > first) svg.append(el("text", { x: width - right, y: height - 5, "text-anchor": "end" }, `epoch ${shortNumber(last)}`));
  const path = points.map(([epoch, value], at) => `${at ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const spot = el("circle", { class: "spot", r: 3.5, cx: x(points.at(-1)[0]), cy: y(points.at(-1)[1]) });
  svg.append(el("path", { class: "curve", d: path }), spot);
  const readout = el("span", {});
  const show = ([epoch, value]) => {
    readout.textContent = `${kind === "score" ? value.toFixed(3) : decimal(value)} at epoch ${shortNumber(epoch)}`;
    spot.setAttribute("cx", x(epoch));
    spot.setAttribute("cy", y(value));
  };
  show(points.at(-1));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    show(points.reduce((best, point) => (Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best)));
  });
  svg.addEventListener("pointerleave", () => show(points.at(-1)));
  return el("figure", { class: "chart" }, el("figcaption", {}, el("strong", {}, title), readout), svg);
}

function startCurves() {
  const charts = DATA.curves.map(chart).filter((figure) => figure !== null);
  byId("curves").hidden = !charts.length;
  byId("charts").append(...charts);
  const warm = DATA.warmupEpochs > 0 ? " During the warm-up, shaded, the clusters do not yet take part in the training." : "";
  byId("curves-words").textContent = `Scores after each clustering, and the mean losses of each epoch.${warm}`;
}

// The tree over the clusters: leaves on the left, what joins to the right of them.

const MOST_LEAVES = 40;
const [LEAF, TREE_TOP, TREE_BOTTOM] = [38, 26, 44];

/** The groups of a tree: the clusters in each, and the two that it has joined. */
function treeNodes() {
  const nodes = CLUSTERS.map((_, cluster) => ({ clusters: [cluster], children: [], links: null }));
  DATA.tree.merges.forEach((pair, i) => {
    // The one with the smallest number comes first.
    const children = pair.map((at) => nodes[at]).sort((a, b) => Math.min(...a.clusters) - Math.min(...b.clusters));
    nodes.push({ clusters: children.flatMap((child) => child.clusters), children, links: DATA.tree.links[i] });
  });
  // Of many clusters the last joins are drawn, from groups that have joined before.
  for (const node of nodes.slice(0, Math.max(0, nodes.length - MOST_LEAVES + 1))) node.children = [];
  return nodes;
}

function imagesIn(node) {
  return node.clusters.reduce((sum, cluster) => sum + CLUSTERS[cluster].size, 0);
}

function namesOf(node) {
  const names = node.clusters.slice(0, 6).map(clusterName);
  const more = node.clusters.length - names.length;
  return names.join(", ") + (more > 0 ? ` and ${plural(more, "other")}` : "");
}

function times(links) {
  return links >= 0.1 ? `${links.toFixed(links < 10 ? 1 : 0)} ×` : links > 0.01 ? `${links.toFixed(2)} ×` : "0 ×";
}

function leafOf(node) {
  const canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  const largest = node.clusters.reduce((a, b) => (CLUSTERS[b].size > CLUSTERS[a].size ? b : a));
  if (MEMBERS[largest].length) drawPicture(canvas, MEMBERS[largest][0]);
  const name = node.clusters.length === 1 ? liveName(largest) : el("span", { class: "name" }, plural(node.clusters.length, "cluster"));
  const parts = [canvas, name, el("span", { class: "number" }, number(imagesIn(node)))];
  const show = () => showClusters(...node.clusters);
  return el("li", {}, el("button", { type: "button", title: `See ${namesOf(node)}`, click: show }, ...parts));
}

function startTree() {
  byId("tree").hidden = !DATA.tree || CLUSTERS.length < 2;
  if (byId("tree").hidden) return;
  const nodes = treeNodes();
  const root = nodes.at(-1);
  const joins = nodes.filter((node) => node.children.length);
  const leaves = [];
  const place = (node) => {
    if (node.children.length) {
      node.children.forEach(place);
      node.y = (node.children[0].y + node.children[1].y) / 2;
    } else {
      node.y = TREE_TOP + LEAF * (leaves.length + 0.5);
      node.item = leafOf(node);
      leaves.push(node);
    }
  };
  place(root);
  const isCut = leaves.length < CLUSTERS.length;
  byId("tree-words").textContent = `From left to right clusters join, the most closely linked first. The scale says how many nearest neighbours two groups have in each other, 1 × being as many as by chance. Dashed lines are levels, with their numbers of clusters.${isCut ? ` Of so many clusters only the last ${number(joins.length)} joins are drawn.` : ""}`;
  byId("tree-leaves").append(...leaves.map(({ item }) => item));
  byId("tree").style.setProperty("--leaf", `${LEAF}px`);
  byId("tree").style.setProperty("--tree-top", `${TREE_TOP}px`);

  const height = TREE_TOP + LEAF * leaves.length + TREE_BOTTOM;
  const title = `Tree of ${plural(leaves.length, isCut ? "group" : "cluster")}: up and down go through its joins, Enter shows the images`;
  const svg = el("svg", { tabindex: 0, role: "img", "aria-label": title, height });
  byId("tree-joins").append(svg);
  const hint = "Point at a line to see what joins there, choose it to see the images.";
  byId("tree-line").textContent = hint;
  const point = (node) => {
    for (const other of nodes) {
      const isOn = node !== null && other.clusters.every((cluster) => node.clusters.includes(cluster));
      other.path?.classList.toggle("on", isOn);
      other.item?.classList.toggle("on", isOn);
    }
    chosen = node;
    byId("tree-line").textContent = node === null ? hint : `${node.children.map(namesOf).join(" with ")}: joined at ${times(node.links)}, ${plural(imagesIn(node), "image")}`;
  };
  let chosen = null;

  const draw = () => {
    const width = byId("tree-joins").clientWidth;
    if (!width) return;
    const known = joins.map(({ links }) => links).filter((links) => links > 0.01);
    const [high, low] = [Math.max(...known, 0.01), Math.min(...known, 1)];
    const step = (width - 90) / Math.max(Math.log(high / low), 0.1);
    // What has no links at all joins at the far end.
    const xOf = (links) => (links > 0.01 ? 40 + step * Math.log(high / links) : width - 12);
    for (const node of nodes) node.x = node.children.length ? xOf(node.links) : 0;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren(...cuts(xOf), ...axis(xOf, low, high, width), ...joins.map(lineOf));
    point(chosen);
  };

  /** A dashed line where so many clusters are left, named unless the name has no room. */
  const cuts = (xOf) => {
    let right = Infinity;
    return DATA.tree.levels.flatMap((count, i) => {
      const at = CLUSTERS.length - count; // joins before it
      if (at <= 0 || at < CLUSTERS.length - leaves.length) return [];
      const x = (xOf(DATA.tree.links[at - 1]) + xOf(DATA.tree.links[at])) / 2;
      const line = el("line", { class: "cut", x1: x, x2: x, y1: TREE_TOP - 6, y2: height - TREE_BOTTOM });
      const name = `level ${i + 1}: ${count}`;
      if (right - x < 66) return [line];
      right = x;
      return [line, el("text", { x, y: 12, "text-anchor": "middle" }, name)];
    });
  };

  const axis = (xOf, low, high, width) => {
    const y = height - TREE_BOTTOM + 8;
    const parts = [el("line", { class: "axis", x1: 0, x2: width, y1: y, y2: y })];
    let left = -Infinity;
    for (const value of [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02]) {
      const x = xOf(value);
      if (value > high * 1.2 || value < low / 1.2 || x - left < 34 || x > width - 16) continue;
      left = x;
      parts.push(el("line", { class: "axis", x1: x, x2: x, y1: y, y2: y + 5 }), el("text", { x, y: y + 18, "text-anchor": "middle" }, `${value} ×`));
    }
    return [...parts, el("text", { x: width, y: y + 34, "text-anchor": "end" }, "neighbours in each other, chance = 1 ×")];
  };

  const lineOf = (node) => {
    const [a, b] = node.children;
    node.path = el("path", { class: "join", d: `M${a.x} ${a.y}H${node.x}V${b.y}H${b.x}` });
    return node.path;
  };

  /** The join whose line is nearest to a place, at most a leaf away. */
  const nearest = (x, y) => {
    const away = ({ x: at, children: [a, b] }) => {
      const within = (value, low, high) => Math.max(low - value, 0, value - high);
      const stem = Math.hypot(x - at, within(y, a.y, b.y));
      const arms = [a, b].map((child) => Math.hypot(within(x, child.x, at), y - child.y));
      return Math.min(stem, ...arms);
    };
    const found = joins.reduce((best, node) => (away(node) < away(best) ? node : best));
    return away(found) < LEAF / 2 ? found : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    point(nearest(event.clientX - box.x, event.clientY - box.y));
  });
  svg.addEventListener("pointerleave", () => point(null));
  svg.addEventListener("blur", () => point(null));
  svg.addEventListener("click", () => chosen && showClusters(...chosen.clusters));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (step) point(joins[Math.max(0, Math.min(joins.length - 1, chosen ? joins.indexOf(chosen) + step : 0))]);
    else if (event.key === "Enter" && chosen) showClusters(...chosen.clusters);
    else return;
    event.preventDefault();
  });
  drawsItself(byId("tree-joins"), draw);
}

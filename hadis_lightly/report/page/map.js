// The images on a plane: zoom, drag, and see what is under the pointer.

const PICTURES_ON_MAP = 160;
const ON_MAP = [];
for (let i = 0; i < COUNT; i++) if (IMAGES.x[i] !== null && IMAGES.y[i] !== null) ON_MAP.push(i);

const plane = {
  canvas: byId("plane-canvas"), box: byId("plane"), tip: byId("plane-tip"),
  zoom: 1, x: 0, y: 0, pointed: null, isPending: false, selects: false, band: null,
};

/** Middle and extent of all points; the map shows them with a margin. */
function planeFrame() {
  const [xs, ys] = [ON_MAP.map((i) => IMAGES.x[i]), ON_MAP.map((i) => IMAGES.y[i])];
  const ends = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [[left, right], [bottom, top]] = [ends(xs), ends(ys)];
  return { x: (left + right) / 2, y: (bottom + top) / 2, width: Math.max(right - left, 1e-6), height: Math.max(top - bottom, 1e-6) };
}

function planeScale() {
  const { clientWidth: width, clientHeight: height } = plane.box;
  return plane.zoom * Math.min((width - 56) / plane.frame.width, (height - 56) / plane.frame.height);
}

function toScreen(i) {
  const scale = planeScale();
  const { clientWidth: width, clientHeight: height } = plane.box;
  return [width / 2 + (IMAGES.x[i] - plane.frame.x - plane.x) * scale, height / 2 - (IMAGES.y[i] - plane.frame.y - plane.y) * scale];
}

function redrawPlane() {
  if (plane.isPending) return;
  plane.isPending = true;
  requestAnimationFrame(() => {
    plane.isPending = false;
    drawPlane();
  });
}

function drawPlane() {
  const { clientWidth: width, clientHeight: height } = plane.box;
  if (!width) return;
  const canvas = plane.canvas;
  if (canvas.width !== Math.round(width * SCALE) || canvas.height !== Math.round(height * SCALE)) {
    canvas.width = Math.round(width * SCALE);
    canvas.height = Math.round(height * SCALE);
  }
  const context = canvas.getContext("2d");
  context.setTransform(SCALE, 0, 0, SCALE, 0, 0);
  context.clearRect(0, 0, width, height);
  const radius = Math.max(1.8, Math.min(4.5, 120 / Math.sqrt(ON_MAP.length))) * Math.min(2.2, Math.sqrt(plane.zoom));
  const visible = [];
  const draw = (i, alpha) => {
    const [x, y] = toScreen(i);
    if (x < -40 || y < -40 || x > width + 40 || y > height + 40) return;
    context.globalAlpha = alpha;
    context.fillStyle = plane.colors[IMAGES.label[i]];
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    if (isHit[i]) visible.push(i);
  };
  if (isFiltered()) for (const i of ON_MAP) if (!isHit[i]) draw(i, 0.09);
  for (const i of ON_MAP) if (isHit[i]) draw(i, 0.85);
  context.globalAlpha = 1;
  if (plane.zoom > 1.5 && visible.length <= PICTURES_ON_MAP) drawPicturesOnPlane(context, visible);
  else if (CLUSTERS.length <= 60) drawClusterNames(context);
  markSelected(context, radius);
  if (plane.pointed !== null) {
    const [x, y] = toScreen(plane.pointed);
    context.strokeStyle = css("--ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, radius + 4, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** Close by, the points become pictures. */
function drawPicturesOnPlane(context, visible) {
  const largest = Math.max(30, Math.min(58, 420 / Math.sqrt(visible.length)));
  for (const i of visible) {
    if (!isReadable(i)) continue;
    const { sheet, x: fromX, y: fromY } = cellOf(i);
    const bitmap = plane.bitmaps.get(sheet);
    if (!bitmap) {
      // The set of sheets in sight is small: at most one per visible picture.
      sheetBitmap(sheet).then((ready) => {
        if (plane.bitmaps.size > 160) plane.bitmaps.clear();
        plane.bitmaps.set(sheet, ready);
        redrawPlane();
      });
      continue;
    }
    const [width, height] = [IMAGES.width[i], IMAGES.height[i]];
    const scale = largest / Math.max(width, height);
    const [x, y] = toScreen(i);
    const [w, h] = [width * scale, height * scale];
    context.fillStyle = plane.colors[IMAGES.label[i]];
    context.fillRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
    context.imageSmoothingEnabled = !isTiny(i);
    context.drawImage(bitmap, fromX, fromY, width, height, x - w / 2, y - h / 2, w, h);
  }
}

function drawClusterNames(context) {
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  for (const [cluster, i] of plane.middles) {
    if (!showsCluster(cluster)) continue;
    const name = CLUSTERS.length <= 24 ? clusterName(cluster) : String(cluster);
    const half = context.measureText(name).width / 2 + 3;
    const [x, middle] = toScreen(i);
    const isFree = (y) => !taken.some(([left, right, at]) => x - half < right && x + half > left && Math.abs(y - at) < 16);
    const y = [0, 16, -16, 32, -32].map((shift) => middle + shift).find(isFree);
    if (y === undefined) continue;
    taken.push([x - half, x + half, y]);
    context.strokeStyle = css("--card");
    context.lineWidth = 4;
    context.strokeText(name, x, y);
    context.fillStyle = css("--ink");
    context.fillText(name, x, y);
  }
}

/** The image of every cluster that lies nearest to the median of its points. */
function findMiddles() {
  const middles = [];
  CLUSTERS.forEach((_, cluster) => {
    const members = ON_MAP.filter((i) => IMAGES.label[i] === cluster);
    if (!members.length) return;
    const median = (column) => members.map((i) => IMAGES[column][i]).sort((a, b) => a - b)[members.length >> 1];
    const [x, y] = [median("x"), median("y")];
    const apart = (i) => (IMAGES.x[i] - x) ** 2 + (IMAGES.y[i] - y) ** 2;
    middles.push([cluster, members.reduce((best, i) => (apart(i) < apart(best) ? i : best))]);
  });
  return middles;
}

function nearest(x, y, reach) {
  let [best, least] = [null, reach * reach];
  for (const i of ON_MAP) {
    if (!isHit[i]) continue;
    const [px, py] = toScreen(i);
    const apart = (px - x) ** 2 + (py - y) ** 2;
    if (apart < least) [best, least] = [i, apart];
  }
  return best;
}

function pointAt(i) {
  if (plane.pointed === i) return;
  plane.pointed = i;
  plane.tip.hidden = i === null;
  if (i !== null) {
    const tip = plane.tip;
    drawPicture(tip.querySelector("canvas"), i);
    tip.querySelector("strong").textContent = IMAGES.key[i];
    tip.querySelector("span").textContent = `${clusterName(IMAGES.label[i])}\nConfidence ${percent(IMAGES.confidence[i])}`;
    const [x, y] = toScreen(i);
    const { clientWidth: width, clientHeight: height } = plane.box;
    const [w, h] = [tip.offsetWidth, tip.offsetHeight];
    tip.style.left = `${Math.max(4, Math.min(width - w - 4, x + 16 + w > width ? x - w - 16 : x + 16))}px`;
    tip.style.top = `${Math.max(4, Math.min(height - h - 4, y - h / 2))}px`;
  }
  redrawPlane();
}

/** Zooms by a factor about a point of the screen, which keeps its place. */
function zoomBy(factor, x = plane.box.clientWidth / 2, y = plane.box.clientHeight / 2) {
  const before = planeScale();
  plane.zoom = Math.max(1, Math.min(200, plane.zoom * factor));
  const shift = 1 / before - 1 / planeScale();
  moveTo(plane.x + (x - plane.box.clientWidth / 2) * shift, plane.y - (y - plane.box.clientHeight / 2) * shift);
}

function moveTo(x, y) {
  const { width, height } = plane.frame;
  const within = (value, half) => Math.max(-half, Math.min(half, value));
  plane.x = plane.zoom === 1 ? 0 : within(x, width / 2);
  plane.y = plane.zoom === 1 ? 0 : within(y, height / 2);
  plane.canvas.style.touchAction = plane.zoom === 1 ? "pan-y" : "none";
  pointAt(null);
  redrawPlane();
}

function listenToPointers() {
  const { canvas } = plane;
  const pointers = new Map();
  let hasMoved = false;
  canvas.addEventListener("pointerdown", (event) => {
    if (startBand(event)) return;
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    hasMoved = pointers.size > 1;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    if (plane.band) return moveBand(x, y);
    const last = pointers.get(event.pointerId);
    if (!last) return pointAt(nearest(x, y, 16));
    if (!hasMoved && Math.hypot(x - last[0], y - last[1]) < 5) return;
    hasMoved = true;
    const apart = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
    const before = pointers.size === 2 ? apart() : 0;
    pointers.set(event.pointerId, [x, y]);
    canvas.classList.add("moving");
    if (before) zoomBy(apart() / before, x, y);
    const share = planeScale() * pointers.size;
    moveTo(plane.x - (x - last[0]) / share, plane.y + (y - last[1]) / share);
  });
  const release = (event) => {
    if (plane.band) return endBand(event);
    const isTap = pointers.delete(event.pointerId) && !hasMoved && event.type === "pointerup";
    canvas.classList.remove("moving");
    if (!isTap) return;
    const i = nearest(event.offsetX, event.offsetY, 24);
    // A finger has no hover: its first tap shows the image, its second enlarges it.
    if (event.pointerType !== "touch" || (i !== null && i === plane.pointed)) i !== null && openViewer(order(state.sort).filter((j) => isHit[j]), i);
    else pointAt(i);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && pointAt(null));
  canvas.addEventListener("wheel", (event) => {
    // Without Ctrl the page scrolls, unless the map was chosen by a click.
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / planeScale();
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (move) moveTo(plane.x + move[0], plane.y + move[1]);
    else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") zoomBy(0);
    else return;
    event.preventDefault();
  });
}

function startMap() {
  byId("map").hidden = ON_MAP.length < 2;
  if (ON_MAP.length < 2) return;
  Object.assign(plane, { frame: planeFrame(), middles: findMiddles(), bitmaps: new Map(), colors: CLUSTERS.map((_, cluster) => clusterColor(cluster)) });
  const part = ON_MAP.length < DATA.total ? ` The map has ${number(ON_MAP.length)} of the ${number(DATA.total)} images.` : "";
  byId("map-words").textContent = `Images that the network finds alike lie near each other; the colour is the cluster. Zoom in far enough and the points become pictures.${part}`;
  byId("plane-hint").textContent = "Drag to move, with Shift to select the images in a frame; pinch or Ctrl and wheel to zoom; with the keyboard: arrows, + and −, 0 for the whole map.";
  plane.canvas.setAttribute("aria-label", `Map of ${plural(ON_MAP.length, "image")}, coloured by cluster`);
  byId("band").addEventListener("click", (event) => {
    plane.selects = !plane.selects;
    event.target.setAttribute("aria-pressed", plane.selects);
    plane.canvas.classList.toggle("selects", plane.selects);
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(1.6));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.6));
  byId("zoom-reset").addEventListener("click", () => zoomBy(0));
  listenToPointers();
  onFilter(() => {
    pointAt(null);
    redrawPlane();
  });
  drawsItself(plane.box, redrawPlane);
}

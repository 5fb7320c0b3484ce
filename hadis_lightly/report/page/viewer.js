// One image enlarged, with all that is known of it.

const viewer = byId("viewer");
let viewerList = [];
let viewerPlace = 0;

function openViewer(list, i) {
  viewerList = list.includes(i) ? list : [i];
  showInViewer(viewerList.indexOf(i));
  if (!viewer.open) viewer.showModal();
}

function fact(name, value, words) {
  return [el("dt", {}, name), el("dd", {}, ...[value].flat(), words ? el("small", {}, words) : null)];
}

function showInViewer(place) {
  viewerPlace = place;
  const i = viewerList[place];
  const cluster = IMAGES.label[i];
  state.image = i;
  writeHash();
  byId("viewer-name").textContent = IMAGES.key[i];
  byId("viewer-place").textContent = viewerList.length > 1 ? `${number(place + 1)} of ${number(viewerList.length)}` : "";
  byId("viewer-back").disabled = place === 0;
  byId("viewer-next").disabled = place === viewerList.length - 1;
  const facts = [
    fact("Cluster", [dot(cluster), ` ${clusterName(cluster)}`]),
    fact("Confidence", percent(IMAGES.confidence[i]), "how clearly it lies with this cluster"),
    fact("Distance", decimal(IMAGES.distance[i]), "from the middle of its cluster; unrelated images have about 1.41"),
    fact("Isolation", decimal(IMAGES.isolation[i]), "distance to its nearest among some others, 0 or more"),
  ];
  if (IMAGES.target) facts.push(fact("Class", IMAGES.target[i] < 0 ? "unknown" : className(IMAGES.target[i])));
  if (isReadable(i)) facts.push(fact("Size", `${IMAGES.ownWidth[i]} by ${IMAGES.ownHeight[i]} pixels`));
  byId("viewer-facts").replaceChildren(...facts.flat());
  showLabelInViewer();
  const canvas = byId("viewer-canvas");
  canvas.hidden = !isReadable(i);
  byId("viewer-gone").hidden = isReadable(i);
  canvas.setAttribute("aria-label", describe(i));
  enlarge(canvas, i);
  drawPicture(canvas, i);
}

/** The label of the image: typed over it moves the image, emptied it puts it back. */
function showLabelInViewer() {
  const i = viewerList[viewerPlace];
  const isOut = labelOf(i) === null;
  byId("viewer-label").value = isMoved(i) ? labelOf(i) ?? "" : "";
  byId("viewer-label").placeholder = isOut ? "excluded" : labelOf(i);
  byId("viewer-exclude").textContent = moveOf(i)?.label === null ? "Put back" : "Exclude";
  byId("viewer-example").setAttribute("aria-pressed", isExample(i));
  byId("viewer-example").disabled = !isExample(i) && !canBeExample(i);
}

function startLabelInViewer() {
  const field = byId("viewer-label");
  field.addEventListener("change", () => moveImages([viewerList[viewerPlace]], tidy(field.value) || undefined));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") byId("viewer-next").disabled ? field.blur() : byId("viewer-next").focus();
  });
  byId("viewer-exclude").addEventListener("click", () => {
    const i = viewerList[viewerPlace];
    moveImages([i], moveOf(i)?.label === null ? undefined : null);
  });
  byId("viewer-example").addEventListener("click", () => toggleExamples([viewerList[viewerPlace]]));
  onDecision(() => viewer.open && showLabelInViewer());
}

/** Fits the image in its frame; a small version is not blown up without end. */
function enlarge(canvas, i) {
  const [width, height] = [IMAGES.width[i], IMAGES.height[i]];
  const most = isTiny(i) ? 448 / Math.max(width, height, 1) : 4;
  const scale = Math.min(most, 560 / Math.max(width, height, 1));
  canvas.style.width = `${Math.round(width * scale)}px`;
  canvas.style.aspectRatio = `${Math.max(1, width)} / ${Math.max(1, height)}`;
}

function turn(step) {
  const place = viewerPlace + step;
  if (place >= 0 && place < viewerList.length) showInViewer(place);
}

async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const area = el("textarea", { "aria-hidden": "true" });
    area.value = text;
    (viewer.open ? viewer : document.body).append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Not allowed here";
    area.remove();
  }
  setTimeout(() => (button.textContent = label), 1500);
}

function startViewer() {
  startLabelInViewer();
  byId("viewer-back").addEventListener("click", () => turn(-1));
  byId("viewer-next").addEventListener("click", () => turn(1));
  byId("viewer-close").addEventListener("click", () => viewer.close());
  byId("viewer-copy").addEventListener("click", (event) => copyText(IMAGES.key[viewerList[viewerPlace]], event.target));
  byId("viewer-cluster").addEventListener("click", () => {
    const cluster = IMAGES.label[viewerList[viewerPlace]];
    viewer.close();
    setFilter({ ...NO_FILTER, clusters: new Set([cluster]) });
    goTo("images");
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowRight") turn(1);
    else if (event.key === "k") toggleExamples([viewerList[viewerPlace]]);
    else return;
    event.preventDefault();
  });
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("close", () => {
    state.image = null;
    writeHash();
  });
  let start = null;
  viewer.addEventListener("touchstart", (event) => (start = event.changedTouches[0].clientX), { passive: true });
  viewer.addEventListener("touchend", (event) => {
    const moved = event.changedTouches[0].clientX - (start ?? 0);
    if (start !== null && Math.abs(moved) > 60) turn(moved < 0 ? 1 : -1);
    start = null;
  });
}

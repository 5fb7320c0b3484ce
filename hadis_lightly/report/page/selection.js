// Images that are selected, and the bar that moves them.

const selected = new Set();
let anchor = null;
let sayTimer = 0;

/** Says what has happened, with a way back. */
function say(words, canUndo = false) {
  const said = byId("said");
  said.querySelector("span").textContent = words;
  said.querySelector("button").hidden = !canUndo;
  said.hidden = false;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => (said.hidden = true), 7000);
}

/** Shows on a picture whether it is selected, moved or excluded. */
function markPicture(button) {
  const { i } = contexts.get(button);
  const label = labelOf(i);
  const text = `${describe(i)}${isReadable(i) ? "" : ", not readable"}`;
  button.classList.toggle("chosen", selected.has(i));
  button.classList.toggle("out", label === null);
  if (label !== null && moveOf(i)) button.dataset.byHand = `${isExample(i) ? "✓" : "→"} ${label}`;
  else delete button.dataset.byHand;
  button.setAttribute("aria-label", selected.has(i) ? `${text}, selected` : text);
  button.title = text;
}

const markPictures = () => document.querySelectorAll(".pic").forEach(markPicture);

function select(list, isOn = true) {
  for (const i of list) isOn ? selected.add(i) : selected.delete(i);
  showSelection();
}

function showSelection() {
  markPictures();
  const tray = byId("tray");
  document.documentElement.classList.toggle("selecting", selected.size > 0);
  tray.hidden = selected.size === 0;
  byId("tray-count").textContent = `${number(selected.size)} selected`;
  byId("tray-back").hidden = ![...selected].some(moveOf);
  redrawPlane();
}

function toggleSelected(list, i) {
  anchor = { list, i };
  select([i], !selected.has(i));
}

/** Selects from the last image that was chosen in a list to this one. */
function selectTo(list, i) {
  if (anchor?.list !== list) return toggleSelected(list, i);
  const [from, to] = [list.indexOf(anchor.i), list.indexOf(i)].sort((a, b) => a - b);
  select(list.slice(Math.max(0, from), to + 1));
}

function clearSelection() {
  selected.clear();
  showSelection();
}

/** Moves what is selected, see moveImages, and is ready for the next. */
function moveSelected(label) {
  const list = [...selected];
  clearSelection();
  moveImages(list, label);
}

function exampleSelected() {
  const list = [...selected];
  clearSelection();
  toggleExamples(list);
}

/** The picture beside, above or below another one in the same grid. */
function neighbourOf(button, key) {
  const all = [...button.closest(".grid, .strip").querySelectorAll(".pic")];
  const at = all.indexOf(button);
  if (key === "ArrowLeft" || key === "ArrowRight") return all[at + (key === "ArrowRight" ? 1 : -1)];
  const box = button.getBoundingClientRect();
  const columns = all.filter((other) => Math.abs(other.getBoundingClientRect().y - all[0].getBoundingClientRect().y) < box.height / 2).length;
  return all[at + (key === "ArrowDown" ? columns : -columns)];
}

function pictureKey(event, button) {
  const { i, list } = contexts.get(button);
  if (event.key === " ") toggleSelected(list, i);
  else if (event.key.startsWith("Arrow")) {
    const next = neighbourOf(button, event.key);
    if (!next) return false;
    if (event.shiftKey) {
      if (anchor?.list !== list) toggleSelected(list, i);
      selectTo(list, contexts.get(next).i);
    }
    next.focus();
  } else if (event.key === "k") selected.size ? exampleSelected() : toggleExamples([i]);
  else if (event.key === "x") selected.size ? moveSelected(null) : moveImages([i], moveOf(i)?.label === null ? undefined : null);
  else if (event.key === "m") {
    if (!selected.size) toggleSelected(list, i);
    byId("tray-label").focus();
  } else return false;
  return true;
}

function startSelection() {
  const label = byId("tray-label");
  let place = null;
  byId("tray").addEventListener("focusin", (event) => (place = event.relatedTarget?.closest?.(".pic") ?? place));
  const back = () => place?.isConnected && place.focus({ preventScroll: true });
  byId("tray").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!tidy(label.value)) return label.focus();
    moveSelected(tidy(label.value));
    back();
  });
  byId("tray-example").addEventListener("click", () => (exampleSelected(), back()));
  byId("tray-exclude").addEventListener("click", () => (moveSelected(null), back()));
  byId("tray-back").addEventListener("click", () => (moveSelected(undefined), back()));
  byId("tray-clear").addEventListener("click", () => (clearSelection(), back()));
  byId("said").querySelector("button").addEventListener("click", undo);
  const listLabels = () => {
    const names = new Set([...usedLabels(), ...(DATA.classNames ? Object.values(DATA.classNames) : [])]);
    byId("label-names").replaceChildren(...[...names].map((value) => el("option", { value })));
  };
  listLabels();
  onDecision(() => {
    listLabels();
    showSelection();
  });
}

// Pictures out of the sheets, which are decoded when the first of them is seen.

const SHEETS_KEPT = 32;
const TINY = 64;
const sheetCache = new Map();

/** The decoded sheet with a number; the least recently used are forgotten. */
function sheetBitmap(sheet) {
  let bitmap = sheetCache.get(sheet);
  if (bitmap) sheetCache.delete(sheet);
  else {
    const text = atob(byId(`sheet-${sheet}`).textContent);
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    bitmap = createImageBitmap(new Blob([bytes], { type: DATA.sheets[sheet][0] }));
  }
  sheetCache.set(sheet, bitmap);
  if (sheetCache.size > SHEETS_KEPT) sheetCache.delete(sheetCache.keys().next().value);
  return bitmap;
}

const isReadable = (i) => IMAGES.width[i] > 0;
const isTiny = (i) => Math.max(IMAGES.ownWidth[i], IMAGES.ownHeight[i]) <= TINY;

/** Where an image lies in its sheet. */
function cellOf(i) {
  const sheet = Math.floor(i / DATA.perSheet);
  const [, width, height, columns] = DATA.sheets[sheet];
  const place = i % DATA.perSheet;
  return { sheet, x: (place % columns) * width, y: Math.floor(place / columns) * height };
}

/** Draws an image on a canvas, unless the canvas is given another one meanwhile. */
async function drawPicture(canvas, i) {
  canvas.dataset.image = i;
  canvas.classList.toggle("pixel", isTiny(i));
  if (!isReadable(i)) {
    canvas.width = canvas.height = 1;
    return;
  }
  const { sheet, x, y } = cellOf(i);
  const bitmap = await sheetBitmap(sheet);
  if (canvas.dataset.image !== String(i)) return;
  const [width, height] = [IMAGES.width[i], IMAGES.height[i]];
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(bitmap, x, y, width, height, 0, 0, width, height);
}

function clearPicture(canvas) {
  delete canvas.dataset.image;
  canvas.width = canvas.height = 1;
}

const contexts = new WeakMap();
const waiting = new Set();

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const { i, forgets } = contexts.get(target);
      if (isIntersecting) {
        waiting.delete(target);
        if (target.firstChild.dataset.image === undefined) drawPicture(target.firstChild, i);
      } else if (forgets && target.firstChild.dataset.image !== undefined) clearPicture(target.firstChild);
    }
  },
  { rootMargin: "400px 0px" },
);

function describe(i) {
  const label = labelOf(i);
  const where = label === null ? ", excluded" : isExample(i) ? `, example of ${label}` : isMoved(i) ? `, moved to ${label}` : "";
  return `${IMAGES.key[i]}, ${clusterName(IMAGES.label[i])}${where}, confidence ${percent(IMAGES.confidence[i])}`;
}

/**
 * A picture that opens the viewer, which turns the pages of `list`.
 * With `forgets` its pixels are given up when it is out of sight.
 */
function picture(i, list, forgets = false) {
  const canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  const button = el("button", { type: "button", class: isReadable(i) ? "pic" : "pic gone" }, canvas, el("span", { class: "tick", "aria-hidden": "true", title: "Select" }));
  contexts.set(button, { i, list, forgets });
  markPicture(button);
  seen.observe(button);
  if (!forgets) waiting.add(button);
  return button;
}

/** Takes pictures away, and out of the observer. */
function dropPictures(parent) {
  for (const button of parent.querySelectorAll(".pic")) {
    seen.unobserve(button);
    waiting.delete(button);
  }
  parent.replaceChildren();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".pic");
  if (!button) return;
  const { list, i } = contexts.get(button);
  if (event.shiftKey) selectTo(list, i);
  else if (event.ctrlKey || event.metaKey || selected.size || event.target.closest(".tick")) toggleSelected(list, i);
  else openViewer(list, i);
});

/** Draws, while nothing else happens, what is further down: for quick scrolling and print. */
function drawWaiting(most = 500) {
  const idle = window.requestIdleCallback ?? ((callback) => setTimeout(callback, 60));
  idle(() => {
    for (const button of [...waiting].slice(0, 12)) {
      waiting.delete(button);
      if (button.isConnected) drawPicture(button.firstChild, contexts.get(button).i);
    }
    if (waiting.size && most > 0) drawWaiting(most - 12);
  });
}

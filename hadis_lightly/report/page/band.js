// A frame on the map that selects the images in it.

/** Begins a frame, with Shift or while "Select" is on; false if the map is to move. */
function startBand(event) {
  if ((!event.shiftKey && !plane.selects) || event.button !== 0) return false;
  const [x, y] = [event.offsetX, event.offsetY];
  plane.band = { from: [x, y], to: [x, y] };
  plane.canvas.setPointerCapture(event.pointerId);
  pointAt(null);
  return true;
}

function bandBox() {
  const { from, to } = plane.band;
  const [[left, right], [top, bottom]] = [0, 1].map((axis) => [from[axis], to[axis]].sort((a, b) => a - b));
  return { left, right, top, bottom };
}

function moveBand(x, y) {
  plane.band.to = [x, y];
  const { left, right, top, bottom } = bandBox();
  const frame = byId("band-frame");
  frame.hidden = false;
  Object.assign(frame.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
}

/** Adds the images in the frame to the selection; a mere click adds or takes one. */
function endBand(event) {
  const { left, right, top, bottom } = bandBox();
  plane.band = null;
  byId("band-frame").hidden = true;
  if (event.type !== "pointerup") return;
  if (right - left < 5 && bottom - top < 5) {
    const i = nearest(left, top, 24);
    return i !== null && toggleSelected(ON_MAP, i);
  }
  select(ON_MAP.filter((i) => {
    const [x, y] = toScreen(i);
    return isHit[i] && x >= left && x <= right && y >= top && y <= bottom;
  }));
}

function markSelected(context, radius) {
  context.strokeStyle = css("--ink");
  context.lineWidth = 1.5;
  for (const i of selected) {
    if (IMAGES.x[i] === null || IMAGES.y[i] === null) continue;
    const [x, y] = toScreen(i);
    context.beginPath();
    context.arc(x, y, radius + 1.5, 0, 2 * Math.PI);
    context.stroke();
  }
}

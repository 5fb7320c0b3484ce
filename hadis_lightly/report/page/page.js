// Starts the page.

remember();
startOverview();
startSizes();
startPill();
startCards();
startHardest();
startMap();
startSimilarity();
startTree();
startNumbers();
startCurves();
startConfusion();
startBrowser();
startViewer();
startSelection();
startWork();
startNavigation();

function takeViewFromAddress() {
  const isView = readHash();
  const { image } = state;
  findHits();
  for (const listener of listeners) listener();
  if (image === null) viewer.close();
  else openViewer(order(state.sort).filter((i) => isHit[i]), image);
  return isView && isFiltered() && image === null;
}

if (takeViewFromAddress()) goTo("images");
else if (location.hash.length > 1 && !location.hash.includes("=")) byId(location.hash.slice(1))?.scrollIntoView();
addEventListener("hashchange", () => location.hash.includes("=") && takeViewFromAddress());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));

// What is in sight has been drawn: two frames later the page is ready.
requestAnimationFrame(() =>
  requestAnimationFrame(() => {
    performance.mark("report-ready");
    window.reportReady = performance.now();
    document.documentElement.dataset.ready = "true";
  }),
);

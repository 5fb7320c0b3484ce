// How much is done, undo, files, and the keys: what makes the page a place to work in.

const isTyping = (node) => node.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select");

function showProgress() {
  const { total, named, accepted, rejected, done, moved, excluded, examples } = progress();
  const parts = [`${number(named)} of ${plural(total, "cluster")} named`];
  if (accepted) parts.push(`${number(accepted)} accepted`);
  if (rejected) parts.push(`${number(rejected)} rejected`);
  if (moved) parts.push(`${plural(moved, "image")} moved`);
  if (examples) parts.push(plural(examples, "example"));
  if (excluded) parts.push(`${plural(excluded, "image")} excluded`);
  byId("work-done").textContent = parts.join(", ");
  byId("work-bar").max = total;
  byId("work-bar").value = done;
  byId("undo").disabled = stepsDone === 0;
  byId("redo").disabled = stepsDone === steps.length;
  byId("undo").title = stepsDone ? `Undo: ${steps[stepsDone - 1].words} (Ctrl+Z)` : "";
  const notes = [];
  if (!isKept) notes.push("This browser keeps nothing between visits: download names.json before you leave, and load it next time.");
  if (COUNT < DATA.total) notes.push(`labels.csv has the ${number(COUNT)} images of this page; hadis-lightly-predict with names=names.json labels all.`);
  byId("work-note").textContent = notes.join(" ");
  byId("work-note").hidden = !notes.length;
}

/** Names of clusters that stand anywhere in the page. */
function showNames() {
  document.querySelectorAll("[data-name-of]").forEach(showName);
  redraws.forEach((draw) => draw());
}

function askForNames() {
  const input = el("input", { type: "file", accept: ".json,application/json" });
  input.addEventListener("change", async () => {
    try {
      loadNames(await input.files[0].text());
    } catch (error) {
      say(`${input.files[0].name} was not loaded: ${error.message}.`);
    }
    input.remove();
  });
  input.hidden = true;
  input.id = "names-file";
  byId("names-file")?.remove();
  document.body.append(input);
  input.click();
}

/** The key of a shortcut; true if it was one. */
function workKey(event) {
  const button = document.activeElement.closest?.(".pic");
  if (button && pictureKey(event, button)) return true;
  if (event.key === "Escape" && selected.size) return clearSelection(), true;
  const card = document.activeElement.closest?.(".card");
  if (event.key === "n") return goToCard(card, 1), true;
  if (event.key === "p") return goToCard(card, -1), true;
  if (!card) return false;
  const cluster = Number(card.dataset.cluster);
  if (event.key === "a") acceptCluster(cluster);
  else if (event.key === "r") rejectCluster(cluster);
  else if (event.key === "e") return card.querySelector(".rename").focus(), true;
  else return false;
  goToCard(card, 1);
  return true;
}

function startWork() {
  byId("undo").addEventListener("click", undo);
  byId("redo").addEventListener("click", redo);
  byId("save-labels").addEventListener("click", () => saveText("labels.csv", labelsCsv()));
  byId("save-names").addEventListener("click", () => saveText("names.json", `${JSON.stringify(namesToDownload(), null, 1)}\n`, "application/json"));
  byId("load-names").addEventListener("click", askForNames);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.isComposing || isTyping(event.target)) return;
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      key === "y" || event.shiftKey ? redo() : undo();
    } else if (viewer.open || !workKey(event)) return;
    event.preventDefault();
  });
  // A button acts when the space bar is released.
  document.addEventListener("keyup", (event) => event.key === " " && event.target.closest?.(".pic") && event.preventDefault());
  addEventListener("beforeunload", (event) => !isKept && decided.size && event.preventDefault());
  onDecision(showProgress);
  onDecision(showNames);
  showProgress();
}

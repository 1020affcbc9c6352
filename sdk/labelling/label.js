"use strict";
// One picture at a time; a step is sent with the picture's name, so that none is taken twice.
const byId = (id) => document.getElementById(id);
let state = null;
let busy = false;

async function load() {
  try {
    show(await (await fetch("state.json")).json());
  } catch {
    say("leansight does not answer: it was stopped", true);
  }
}

async function step(path, values, done) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values),
    });
    const next = await answer.json();
    show(next);
    say(next.error ?? done, Boolean(next.error));
  } catch {
    say("leansight does not answer: nothing was changed", true);
  } finally {
    busy = false;
  }
}

const give = (label) => step("label", { name: state.name, label }, label === null ? "none of these" : label);
const skip = () => step("skip", { name: state.name }, "skipped");
const undo = () => step("undo", {}, "undone");

function show(next) {
  const isOther = next.name !== state?.name;
  state = next;
  const total = state.done + state.left;
  byId("count").textContent = `${state.done} of ${total}`;
  byId("progress").max = total || 1;
  byId("progress").value = state.done;
  byId("question").hidden = state.name === null;
  byId("finished").hidden = state.name !== null;
  byId("out").textContent = state.out;
  for (const id of ["undo", "undo-last"]) byId(id).disabled = state.done === 0;
  if (!isOther || state.name === null) return;
  byId("picture").src = `pictures/${state.name}.jpg`;
  byId("picture").alt = `The picture to label; the bundle's doubt is ${percent(state.doubt)}`;
  byId("choices").replaceChildren(...state.choices.map(choice));
  byId("labels").replaceChildren(...state.labels.map((label) => new Option(label)));
  byId("other").value = "";
  byId("other").blur();
}

function choice([label, score], index) {
  const button = document.createElement("button");
  const key = document.createElement("kbd");
  key.textContent = index + 1;
  const name = document.createElement("span");
  name.className = "grow";
  name.textContent = label;
  const share = document.createElement("span");
  share.className = "quiet";
  share.textContent = score === null ? "" : percent(score);
  button.append(key, name, share);
  button.setAttribute("aria-keyshortcuts", index + 1);
  button.addEventListener("click", () => give(label));
  return button;
}

function giveOther() {
  const wanted = byId("other").value.trim();
  const label = state.labels.find((known) => known.toLowerCase() === wanted.toLowerCase());
  if (label === undefined) say(`"${wanted}" is no label of the bundle`, true);
  else give(label);
}

function say(text, isBad) {
  byId("message").textContent = text;
  byId("message").classList.toggle("bad", isBad);
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;

byId("none").addEventListener("click", () => give(null));
byId("skip").addEventListener("click", skip);
byId("undo").addEventListener("click", undo);
byId("undo-last").addEventListener("click", undo);
byId("other").addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Enter") giveOther();
  if (event.key === "Escape") byId("other").blur();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || state === null) return;
  const asks = state.name !== null;
  if (event.key === "u") undo();
  else if (asks && event.key === "n") give(null);
  else if (asks && event.key === "s") skip();
  else if (asks && event.key === "/") { event.preventDefault(); byId("other").focus(); }
  else if (asks && state.choices[event.key - 1]) give(state.choices[event.key - 1][0]);
});
load();

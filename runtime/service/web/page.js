"use strict";
// Two loops: pictures with their labels as they come, figures twice a second; none while nobody looks.
const STATUS_EVERY_MS = 500;
const AGAIN_AFTER_MS = 1000;

const byId = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const looking = () => document.hidden
  ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))
  : Promise.resolve();

let works = false; // labels are given
let said = null; // of the picture that is shown

async function showPictures() {
  let after = "", url = "";
  for (;;) {
    await looking();
    try {
      const answer = await fetch(`frame.jpg?after=${after}`);
      if (answer.status === 200) {
        after = answer.headers.get("Frame-Number");
        const next = URL.createObjectURL(await answer.blob());
        const decoded = new Image();
        decoded.src = next;
        await decoded.decode().catch(() => {});
        byId("picture").src = next; // and its label at once, never one without the other
        URL.revokeObjectURL(url);
        url = next;
        said = JSON.parse(answer.headers.get("Frame-Prediction"));
        if (works) showPrediction(said);
      } else if (!answer.ok) {
        await pause(AGAIN_AFTER_MS);
      }
    } catch {
      await pause(AGAIN_AFTER_MS);
    }
  }
}

async function showStatus() {
  for (;;) {
    await looking();
    try {
      const answer = await fetch("status.json");
      if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
      show(await answer.json());
      await pause(STATUS_EVERY_MS);
    } catch {
      show({ state: "gone", reason: "leansight does not answer: it was stopped, or the network is gone" });
      await pause(AGAIN_AFTER_MS);
    }
  }
}

function show(status) {
  works = status.state === "running" || status.state === "degraded";
  setText("state", status.state === "gone" ? "no connection" : status.state);
  byId("state").className = `pill ${status.state}`;
  byId("reason").hidden = !status.reason;
  setText("reason", status.reason ?? "");
  byId("picture").classList.toggle("old", !works && status.state !== "unusable");
  if (!works) said = null;
  showPrediction(works ? said : null);
  if (status.state === "gone") return;
  setText("name", status.name);
  document.title = `${status.prediction?.label ?? (works ? "not sure" : status.state)} – ${status.name}`;
  byId("picture").alt = status.since_frame_s === null
    ? "There is no picture yet" : `The camera's picture, seen ${status.since_frame_s} s ago`;
  setText("not_sure", percent(status.not_sure_share));
  setText("rate", status.frames_per_s.toFixed(1));
  setText("age", ms(status.age_ms));
  setText("inference", ms(status.inference_ms));
  setText("temperature", status.temperature_c === null ? "–" : `${status.temperature_c.toFixed(0)} °C`);
  setText("damaged", String(status.damaged));
  showTroubles(status.troubles);
  showEvents(status.events);
}

function showPrediction(prediction) {
  const labels = prediction?.labels ?? (prediction?.label ? [prediction.label] : []);
  setText("label", labels.length ? labels.join(", ") : prediction?.status === "invalid output" ? "invalid output" : prediction ? "not sure" : works ? "…" : "no label");
  byId("label").classList.toggle("none", !labels.length);
  setText("score", prediction ? percent(prediction.score) : "");
  byId("top").replaceChildren(...(prediction?.top ?? []).map(([label, score]) => {
    const bar = element("progress", "");
    bar.max = 1;
    bar.value = score;
    bar.ariaLabel = label;
    return element("li", "", element("span", label), element("span", percent(score)), bar);
  }));
}

function showTroubles(troubles) {
  const lines = Object.entries(troubles).map(([output, trouble]) => `${output}: ${trouble}`);
  byId("troubles").hidden = !lines.length;
  if (byId("troubles").textContent !== lines.join("")) {
    byId("troubles").replaceChildren(...lines.map((line) => element("li", line)));
  }
}

function showEvents(events) {
  byId("no-events").hidden = events.length > 0;
  const shown = new Map([...byId("events").children].map((item) => [item.dataset.key, item]));
  byId("events").replaceChildren(...events.map((event) => {
    const key = `${event.number}-${event.end}-${event.best_frame}`;
    return shown.get(key) ?? eventItem(event, key);
  }));
}

function eventItem(event, key) {
  const picture = element("img", "");
  picture.src = `events/${event.number}.jpg?frame=${event.best_frame}`;
  picture.alt = `The best picture of ${event.label}`;
  const lasted = event.end === null ? "now" : `${(event.end - event.start).toFixed(1)} s`;
  const item = element("li", "", picture, element("b", event.label),
    element("span", `${percent(event.score)}, ${lasted}`), element("span", when(event.start)));
  item.dataset.key = key;
  return item;
}

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

// Only a change is told to who listens to the page.
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

const percent = (share) => share === null || share === undefined ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
const ms = (value) => value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
// A position in a file is a few hours at most; everything else is seconds since 1970.
const when = (seconds) => seconds < 1e6 ? `at ${seconds.toFixed(1)} s` : new Date(1000 * seconds).toLocaleTimeString();

showPictures();
showStatus();

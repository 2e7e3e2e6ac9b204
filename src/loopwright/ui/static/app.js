// Keys and charts. Every page works without this file; it only makes some things quicker.

const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

/** Rows of the first table that lead somewhere. */
const openRows = () => [...document.querySelectorAll("main table tbody tr")].filter((row) => row.querySelector("a"));

function moveRow(step) {
  const rows = openRows();
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  rows[at]?.classList.remove("here");
  const next = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + step))];
  next.classList.add("here");
  next.querySelector("a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => moveRow(1),
  k: () => moveRow(-1),
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  if ((event.key === "/" && !isTyping(event.target) && !event.ctrlKey) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && isTyping(event.target)) {
    event.target.blur();
  } else if (KEYS[event.key] && !isTyping(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submits]")) event.target.form.requestSubmit();
});

const colour = (name) => {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

/** Replace the server's picture of a metric by one that can be zoomed: mean line, band from least to greatest. */
async function drawMetric(place) {
  const answer = await fetch(place.dataset.chart, { headers: { accept: "application/json" } });
  if (!answer.ok || typeof uPlot === "undefined") return;
  const { points, metric } = await answer.json();
  if (points.length < 2) return;
  const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  const line = colour("s1");
  place.replaceChildren();
  const chart = new uPlot(
    {
      width: place.clientWidth,
      height: 260,
      scales: { x: { time: false } },
      axes: [{ ...axis }, { ...axis, size: 62 }],
      cursor: { drag: { x: true, y: false } },
      series: [
        { label: "step" },
        { label: metric, stroke: line, width: 1.6, points: { show: points.length < 30 } },
        { label: "least", stroke: "transparent", points: { show: false } },
        { label: "greatest", stroke: "transparent", points: { show: false } },
      ],
      bands: [{ series: [3, 2], fill: line.replace("rgb(", "rgba(").replace(")", ", 0.18)") }],
    },
    [points.map((one) => one.step), points.map((one) => one.mean), points.map((one) => one.low), points.map((one) => one.high)],
    place,
  );
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 260 })).observe(place);
}

for (const place of document.querySelectorAll("[data-chart]")) drawMetric(place);

const LOOK_AGAIN_MS = 2000;

/** Put the page's new state in the place of the old one once the work that it waits for has ended. */
async function lookAgain(place) {
  const answer = await fetch(place.dataset.wait, { headers: { accept: "text/html" } }).catch(() => null);
  const next = answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main") : null;
  if (next && !next.querySelector("[data-wait]")) document.querySelector("main").replaceWith(next);
  else setTimeout(() => lookAgain(place), LOOK_AGAIN_MS);
}

for (const place of document.querySelectorAll("[data-wait]")) setTimeout(() => lookAgain(place), LOOK_AGAIN_MS);

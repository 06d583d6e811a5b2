// An instance, with its memory, its disk and its models.

import { createElement, reconcile, setText, showText, withParts } from "./dom.js";
import { matchesFilter } from "./filter.js";
import { ago, bytes, count, ms } from "./format.js";
import { newTable, newTableRow } from "./tables.js";
import { drawSparkline, fillBar, newBar, newSparkline, setPill } from "./widgets.js";

const COLUMNS = ["Model", "Used", "Memory", "Requests", "Cold", "Errors", "Load", "p50", "Latency"];

function newModel() {
  const row = newTableRow(COLUMNS);
  const chart = newSparkline();
  row.parts.cells.at(-1).append(chart);
  Object.assign(row.parts, { chart, drawn: null });
  return row;
}

function updateModel(row, model) {
  const { cells, chart } = row.parts;
  const loaded = model.state === "loaded";
  setText(cells[0], loaded ? model.name : `${model.name} · ${model.state}`);
  setText(cells[1], ago(model.last_used));
  setText(cells[2], model.memory ? bytes(model.memory) : "–");
  setText(cells[3], count(model.calls));
  setText(cells[4], count(model.cold));
  setText(cells[5], count(model.errors));
  cells[5].className = model.errors ? "bad" : "soft";
  setText(cells[6], loaded ? ms(model.load_ms) : "–");
  setText(cells[7], ms(model.p50_ms));
  row.className = loaded ? "" : "cold";
  const values = model.latencies_ms ?? [];
  const drawn = values.join();
  if (drawn === row.parts.drawn) return;
  row.parts.drawn = drawn;
  drawSparkline(chart, values);
}

export function newInstance(instance) {
  const id = createElement("strong", "mono", instance.id);
  const status = createElement("span", "pill");
  const facts = createElement("span", "soft");
  const memory = newBar(`Memory of ${instance.id}`);
  const memoryText = createElement("span", "number");
  const disk = newBar(`Disk of ${instance.id}`);
  const diskText = createElement("span", "number");
  const gauges = createElement(
    "div", "gauges", createElement("span", "soft", "memory"), memory, memoryText, createElement("span", "soft", "disk"), disk, diskText,
  );
  const table = newTable(COLUMNS, `Models on ${instance.id}, most recently used first`);
  const { body } = table.parts;
  const scroll = createElement("div", "scroll", table);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Models on ${instance.id}`);
  const none = createElement("p", "none");
  const element = createElement("section", "instance", createElement("div", "head", id, status, facts), gauges, scroll, none);
  element.setAttribute("aria-label", `Instance ${instance.id}`);
  return withParts(element, { status, facts, memory, memoryText, disk, diskText, body, scroll, none });
}

/** Describes one of several containers: its name, its process and its memory. */
function containerFacts(container) {
  const memory = container.memory_used === null ? "" : `, ${bytes(container.memory_used)}`;
  return `${container.name} (pid ${container.pid ?? "–"}${memory})`;
}

function instanceFacts(instance, multiModel) {
  const loaded = instance.models.filter((model) => model.state === "loaded").length;
  const facts = multiModel ? [`${count(loaded)} ${loaded === 1 ? "model" : "models"} loaded`] : [];
  if (!facts.length) facts.push(instance.containers.length > 1 ? `${instance.containers.length} containers` : "one model");
  facts.push(`${count(instance.outstanding)} in flight`);
  if (instance.cpu_percent !== null) facts.push(`${Math.round(instance.cpu_percent)} % of a core`);
  if (instance.containers.length > 1) facts.push(instance.containers.map(containerFacts).join(", "));
  else if (instance.pid) facts.push(`pid ${instance.pid}`);
  if (instance.restarts) facts.push(`${instance.restarts} ${instance.restarts === 1 ? "restart" : "restarts"}`);
  return facts.join(" · ");
}

export function updateInstance(element, instance, multiModel) {
  const parts = element.parts;
  setPill(parts.status, instance.status);
  setText(parts.facts, instanceFacts(instance, multiModel));
  for (const [meter, text, used, limit] of [
    [parts.memory, parts.memoryText, instance.memory_used, instance.memory_limit],
    [parts.disk, parts.diskText, instance.disk_used, instance.disk_limit],
  ]) {
    const usage = used === null ? `unknown, of ${bytes(limit)}` : `${bytes(used)} of ${bytes(limit)}`;
    fillBar(meter, limit ? (used ?? 0) / limit : 0, usage, true);
    setText(text, usage);
  }
  const shown = instance.models.filter((model) => matchesFilter(model.name));
  reconcile(parts.body, shown, (model) => model.name, newModel, updateModel);
  parts.scroll.hidden = !shown.length;
  const none = instance.models.length ? "No model matches the filter." : "No models yet: a model loads on its first request.";
  showText(parts.none, shown.length > 0 || !multiModel ? "" : none);
}

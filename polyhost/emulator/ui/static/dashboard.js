// The dashboard: endpoints, instances, models and events, live. Clients choose the names of models, so text is only ever
// set as text, never as markup.

const MAX_EVENTS = 300;
const EVENT_CLASSES = { loaded: "good", refused: "warn", failed: "bad", restarted: "bad", overwritten: "warn", fault: "warn" };
const STATUS_CLASSES = { InService: "good", Failed: "bad", Restarting: "bad", Stopped: "bad", OutOfService: "bad" };
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const filter = byId("filter");
const feed = byId("events");
let paused = false;
let state = { endpoints: [] }; // the latest, shown or not
let backlog = []; // events that came while paused

// Elements

function createElement(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function setText(element, text) {
  const content = String(text);
  if (element.textContent !== content) element.textContent = content;
}

/** Makes the children of `parent` one per item, in the items' order. The element of a key is kept as long as the key. */
function reconcile(parent, items, keyOf, create, update) {
  const known = (parent.known ??= new Map());
  const keys = new Set();
  let before = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    keys.add(key);
    let element = known.get(key);
    if (!element) {
      element = create(item);
      known.set(key, element);
    }
    update(element, item);
    if (element === before) before = before.nextElementSibling;
    else parent.insertBefore(element, before);
  }
  for (const [key, element] of known) {
    if (keys.has(key)) continue;
    element.remove();
    known.delete(key);
  }
}

/** Returns the element with `parts`: elements inside it that updates fill. */
function withParts(element, parts) {
  element.parts = parts;
  return element;
}

// Numbers

const count = (value) => value.toLocaleString("en");
const percent = (part, whole) => `${whole ? Math.round((100 * part) / whole) : 0} %`;

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${value.toFixed(value < 10 && unit ? 1 : 0)} ${units[unit]}`;
}

function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function ago(at) {
  const seconds = Math.max(0, Date.now() / 1000 - at);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function bar(label) {
  const element = createElement("span", "bar", createElement("i"));
  element.setAttribute("role", "meter");
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-valuemin", "0");
  element.setAttribute("aria-valuemax", "100");
  return element;
}

function fill(element, share, text, warns = false) {
  const value = Math.min(100, Math.round(100 * share));
  element.firstChild.style.width = `${value}%`;
  element.className = !warns || value < 80 ? "bar" : value < 95 ? "bar warn" : "bar bad";
  element.setAttribute("aria-valuenow", String(value));
  element.setAttribute("aria-valuetext", text);
}

function pill(element, status) {
  setText(element, status);
  element.className = `pill ${STATUS_CLASSES[status] ?? "warn"}`;
}

function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 64 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.append(document.createElementNS(SVG, "polyline"));
  return svg;
}

function draw(svg, values) {
  const top = Math.max(...values, 0.001);
  const step = values.length > 1 ? 62 / (values.length - 1) : 62;
  const heights = values.length === 1 ? [values[0], values[0]] : values;
  const points = heights.map((value, i) => `${(1 + i * step).toFixed(1)},${(15 - (13 * value) / top).toFixed(1)}`).join(" ");
  const label = values.length
    ? `last ${values.length} requests: ${ms(Math.min(...values))} to ${ms(Math.max(...values))}`
    : "no requests yet";
  svg.firstChild.setAttribute("points", points);
  svg.setAttribute("aria-label", label);
}

// Models

const COLUMNS = ["Model", "Used", "Memory", "Requests", "Cold", "Errors", "Load", "p50", "Latency"];

function newRow(model) {
  const cells = COLUMNS.map(() => createElement("td"));
  cells[0].title = model.name;
  const chart = sparkline();
  cells.at(-1).append(chart);
  return withParts(createElement("tr", "", ...cells), { cells, chart, drawn: "" });
}

function updateRow(row, model) {
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
  if (drawn !== row.parts.drawn || !chart.hasAttribute("aria-label")) {
    row.parts.drawn = drawn;
    draw(chart, values);
  }
}

const matchesFilter = (text) => text.toLowerCase().includes(filter.value.trim().toLowerCase());

// Instances, variants, endpoints

function newInstance(instance) {
  const id = createElement("strong", "mono", instance.id);
  const status = createElement("span", "pill");
  const facts = createElement("span", "soft");
  const memory = bar(`Memory of ${instance.id}`);
  const memoryText = createElement("span", "number");
  const disk = bar(`Disk of ${instance.id}`);
  const diskText = createElement("span", "number");
  const gauges = createElement("div", "gauges", createElement("span", "soft", "memory"), memory, memoryText, createElement("span", "soft", "disk"), disk, diskText);
  const head = COLUMNS.map((name) => {
    const cell = createElement("th", "", name);
    cell.scope = "col";
    return cell;
  });
  const body = createElement("tbody");
  const table = createElement("table", "", createElement("caption", "hidden", `Models on ${instance.id}, most recently used first`));
  table.append(createElement("thead", "", createElement("tr", "", ...head)), body);
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

function updateInstance(element, instance, multiModel) {
  const parts = element.parts;
  pill(parts.status, instance.status);
  const loaded = instance.models.filter((model) => model.state === "loaded").length;
  const facts = multiModel ? [`${count(loaded)} ${loaded === 1 ? "model" : "models"} loaded`] : [];
  if (!facts.length) facts.push(instance.containers.length > 1 ? `${instance.containers.length} containers` : "one model");
  facts.push(`${count(instance.outstanding)} in flight`);
  if (instance.cpu_percent !== null) facts.push(`${Math.round(instance.cpu_percent)} % of a core`);
  if (instance.containers.length > 1) facts.push(instance.containers.map(containerFacts).join(", "));
  else if (instance.pid) facts.push(`pid ${instance.pid}`);
  if (instance.restarts) facts.push(`${instance.restarts} ${instance.restarts === 1 ? "restart" : "restarts"}`);
  setText(parts.facts, facts.join(" · "));
  for (const [meter, text, used, limit] of [
    [parts.memory, parts.memoryText, instance.memory_used, instance.memory_limit],
    [parts.disk, parts.diskText, instance.disk_used, instance.disk_limit],
  ]) {
    const usage = used === null ? `unknown, of ${bytes(limit)}` : `${bytes(used)} of ${bytes(limit)}`;
    fill(meter, limit ? (used ?? 0) / limit : 0, usage, true);
    setText(text, usage);
  }
  const shown = instance.models.filter((model) => matchesFilter(model.name));
  reconcile(parts.body, shown, (model) => model.name, newRow, updateRow);
  parts.scroll.hidden = !shown.length;
  parts.none.hidden = shown.length > 0 || !multiModel;
  setText(parts.none, instance.models.length ? "No model matches the filter." : "No models yet: a model loads on its first request.");
}

function newVariant(variant) {
  const share = bar(`Traffic of ${variant.name}`);
  share.classList.add("share");
  const shareText = createElement("span", "soft");
  const type = createElement("span", "soft");
  const instances = createElement("div", "instances");
  return withParts(createElement("div", "variant", createElement("h4", "", createElement("span", "", variant.name), share, shareText, type), instances), {
    share, shareText, type, instances,
  });
}

function kindOf(variant) {
  const model = variant.multi_model ? "multi-model" : "single model";
  if (variant.containers.length < 2) return model;
  return variant.execution === "Direct"
    ? `direct invocation of ${variant.containers.join(", ")}`
    : `pipeline of ${variant.containers.join(" → ")}`;
}

function updateVariant(element, variant) {
  const { share, shareText, type, instances } = element.parts;
  const part = `${percent(variant.share, 1)} of the traffic`;
  const traffic = variant.shadow ? `shadow: copies of ${part}, ${count(variant.copies_in_flight)} on their way` : part;
  fill(share, variant.share, traffic);
  share.classList.add("share");
  setText(shareText, traffic);
  setText(type, `${variant.instances.length} × ${variant.instance_type}, ${kindOf(variant)}`);
  reconcile(instances, variant.instances, (instance) => instance.id, newInstance, (part, instance) =>
    updateInstance(part, instance, variant.multi_model));
}

function newEndpoint(endpoint) {
  const status = createElement("span", "pill");
  const reason = createElement("p", "reason");
  const variants = createElement("div");
  const title = createElement("h3", "", createElement("span", "name", endpoint.name), status, createElement("span", "soft", endpoint.region));
  const element = createElement("section", "endpoint", title, reason, variants);
  element.setAttribute("aria-label", `Endpoint ${endpoint.name}`);
  return withParts(element, { status, reason, variants });
}

function updateEndpoint(element, endpoint) {
  const { status, reason, variants } = element.parts;
  pill(status, endpoint.status);
  setText(reason, endpoint.failure_reason ?? "");
  reason.hidden = !endpoint.failure_reason;
  reconcile(variants, endpoint.variants, (variant) => variant.name, newVariant, updateVariant);
}

function totals(endpoints) {
  const instances = endpoints.flatMap((endpoint) => endpoint.variants.flatMap((variant) => variant.instances));
  const models = instances.flatMap((instance) => instance.models);
  const sum = (items, name) => items.reduce((total, item) => total + item[name], 0);
  const requests = sum(models, "calls");
  return [
    ["endpoints", count(endpoints.length)],
    ["instances", count(instances.length)],
    ["models loaded", count(models.filter((model) => model.state === "loaded").length)],
    ["requests", count(requests)],
    ["cold", percent(sum(models, "cold"), requests)],
    ["errors", count(sum(models, "errors"))],
    ["memory in use", bytes(sum(instances, "memory_used"))],
  ];
}

function render() {
  const { endpoints } = state;
  byId("empty").hidden = endpoints.length > 0;
  reconcile(byId("endpoints"), endpoints, (endpoint) => `${endpoint.region}/${endpoint.name}`, newEndpoint, updateEndpoint);
  reconcile(byId("totals"), totals(endpoints), ([name]) => name, ([name]) => createElement("div", "", createElement("dt", "", name), createElement("dd")), (part, [, value]) =>
    setText(part.lastChild, value));
}

// Events

function newEvent(event) {
  const at = new Date(event.at * 1000);
  const time = createElement("time", "", at.toLocaleTimeString("en-GB"));
  time.dateTime = at.toISOString();
  const top = createElement("div", "top", time, createElement("span", `kind ${EVENT_CLASSES[event.kind] ?? ""}`, event.kind));
  if (event.model) {
    const model = createElement("span", "model", event.model);
    model.title = event.model;
    top.append(model);
  }
  if (event.ms !== null && event.ms !== undefined) top.append(createElement("span", "ms", ms(event.ms)));
  const { endpoint, instance } = event.place;
  const where = instance ? `${endpoint} ${instance.slice(0, 7)}` : endpoint;
  const item = createElement("li", "", top, createElement("div", "what", `${where}: ${event.message}`));
  item.title = event.message;
  item.hidden = !matchesFilter(item.textContent);
  return item;
}

function addEvent(event) {
  feed.prepend(newEvent(event));
  if (feed.children.length > MAX_EVENTS) feed.lastElementChild.remove();
}

// Connection

function setLink(text, className) {
  setText(byId("link"), text);
  byId("link").className = `pill ${className}`;
}

function connect() {
  const source = new EventSource("events");
  source.onopen = () => {
    // The server sends the latest events again on each connection.
    feed.replaceChildren();
    backlog = [];
    setLink("live", "good");
  };
  source.onerror = () => {
    setLink("disconnected, reconnecting", "bad");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
  source.addEventListener("event", ({ data }) => {
    const event = JSON.parse(data);
    if (!paused) addEvent(event);
    else backlog = [...backlog.slice(1 - MAX_EVENTS), event];
  });
  source.addEventListener("state", ({ data }) => {
    state = JSON.parse(data);
    if (!paused) render();
  });
}

byId("pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", String(paused));
  setText(currentTarget, paused ? "Paused" : "Pause");
  if (paused) return;
  backlog.forEach(addEvent);
  backlog = [];
  render();
});
filter.addEventListener("input", () => {
  render();
  for (const item of feed.children) item.hidden = !matchesFilter(item.textContent);
});
setText(byId("address"), `export AWS_ENDPOINT_URL=${location.origin}\nexport AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1`);
connect();

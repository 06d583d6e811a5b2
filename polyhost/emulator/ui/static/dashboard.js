// What the emulator does, as it does it. Names of models are anybody's, so text is only ever set as text.

const MOST_EVENTS = 300;
const KINDS = { loaded: "good", refused: "warn", failed: "bad", restarted: "bad", overwritten: "warn", fault: "warn" };
const STATUSES = { InService: "good", Failed: "bad", Restarting: "bad", Stopped: "bad", OutOfService: "bad" };
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const filter = byId("filter");
const feed = byId("events");
let paused = false;
let last = { endpoints: [] };
let backlog = [];

// Elements

function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function put(element, text) {
  const content = String(text);
  if (element.textContent !== content) element.textContent = content;
}

/** Children of `parent`, one for each item, in the items' order; an element stays that of its key. */
function each(parent, items, keyOf, create, update) {
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

/** An element with `parts`, elements that are filled later. */
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
  const element = make("span", "bar", make("i"));
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
  put(element, status);
  element.className = `pill ${STATUSES[status] ?? "warn"}`;
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
  const told = values.length
    ? `last ${values.length} calls: ${ms(Math.min(...values))} to ${ms(Math.max(...values))}`
    : "no calls yet";
  svg.firstChild.setAttribute("points", points);
  svg.setAttribute("aria-label", told);
}

// Models

const COLUMNS = ["Model", "Used", "Memory", "Calls", "Cold", "Errors", "Load", "p50", "Latency"];

function newRow(model) {
  const cells = COLUMNS.map(() => make("td"));
  cells[0].title = model.name;
  const chart = sparkline();
  cells.at(-1).append(chart);
  return withParts(make("tr", "", ...cells), { cells, chart, drawn: "" });
}

function updateRow(row, model) {
  const { cells, chart } = row.parts;
  const loaded = model.state === "loaded";
  put(cells[0], loaded ? model.name : `${model.name} · ${model.state}`);
  put(cells[1], ago(model.last_used));
  put(cells[2], model.memory ? bytes(model.memory) : "–");
  put(cells[3], count(model.calls));
  put(cells[4], count(model.cold));
  put(cells[5], count(model.errors));
  cells[5].className = model.errors ? "bad" : "soft";
  put(cells[6], loaded ? ms(model.load_ms) : "–");
  put(cells[7], ms(model.p50_ms));
  row.className = loaded ? "" : "cold";
  const values = model.latencies_ms ?? [];
  const drawn = values.join();
  if (drawn !== row.parts.drawn || !chart.hasAttribute("aria-label")) {
    row.parts.drawn = drawn;
    draw(chart, values);
  }
}

const wanted = (text) => text.toLowerCase().includes(filter.value.trim().toLowerCase());

// Instances, variants, endpoints

function newInstance(instance) {
  const id = make("strong", "mono", instance.id);
  const status = make("span", "pill");
  const facts = make("span", "soft");
  const memory = bar(`Memory of ${instance.id}`);
  const memoryText = make("span", "number");
  const disk = bar(`Disk of ${instance.id}`);
  const diskText = make("span", "number");
  const gauges = make("div", "gauges", make("span", "soft", "memory"), memory, memoryText, make("span", "soft", "disk"), disk, diskText);
  const head = COLUMNS.map((name) => {
    const cell = make("th", "", name);
    cell.scope = "col";
    return cell;
  });
  const body = make("tbody");
  const table = make("table", "", make("caption", "hidden", `Models on ${instance.id}, last used first`));
  table.append(make("thead", "", make("tr", "", ...head)), body);
  const scroll = make("div", "scroll", table);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Models on ${instance.id}`);
  const none = make("p", "none");
  const element = make("section", "instance", make("div", "head", id, status, facts), gauges, scroll, none);
  element.setAttribute("aria-label", `Instance ${instance.id}`);
  return withParts(element, { status, facts, memory, memoryText, disk, diskText, body, scroll, none });
}

function updateInstance(element, instance, multiModel) {
  const parts = element.parts;
  pill(parts.status, instance.status);
  const loaded = instance.models.filter((model) => model.state === "loaded").length;
  const facts = multiModel ? [`${count(loaded)} ${loaded === 1 ? "model" : "models"} loaded`] : ["one model"];
  facts.push(`${count(instance.outstanding)} in flight`);
  if (instance.cpu_percent !== null) facts.push(`${Math.round(instance.cpu_percent)} % of a core`);
  if (instance.pid) facts.push(`pid ${instance.pid}`);
  if (instance.restarts) facts.push(`${instance.restarts} ${instance.restarts === 1 ? "restart" : "restarts"}`);
  put(parts.facts, facts.join(" · "));
  for (const [meter, text, used, limit] of [
    [parts.memory, parts.memoryText, instance.memory_used, instance.memory_limit],
    [parts.disk, parts.diskText, instance.disk_used, instance.disk_limit],
  ]) {
    const told = used === null ? `not known, of ${bytes(limit)}` : `${bytes(used)} of ${bytes(limit)}`;
    fill(meter, limit ? (used ?? 0) / limit : 0, told, true);
    put(text, told);
  }
  const shown = instance.models.filter((model) => wanted(model.name));
  each(parts.body, shown, (model) => model.name, newRow, updateRow);
  parts.scroll.hidden = !shown.length;
  parts.none.hidden = shown.length > 0 || !multiModel;
  put(parts.none, instance.models.length ? "No model here has the filter's words in its name." : "No models yet: they load when they are called.");
}

function newVariant(variant) {
  const share = bar(`Traffic of ${variant.name}`);
  share.classList.add("share");
  const shareText = make("span", "soft");
  const type = make("span", "soft");
  const instances = make("div", "instances");
  return withParts(make("div", "variant", make("h4", "", make("span", "", variant.name), share, shareText, type), instances), {
    share, shareText, type, instances,
  });
}

function updateVariant(element, variant) {
  const { share, shareText, type, instances } = element.parts;
  const told = `${percent(variant.share, 1)} of the traffic`;
  fill(share, variant.share, told);
  share.classList.add("share");
  put(shareText, told);
  const kind = variant.multi_model ? "multi-model" : "single model";
  put(type, `${variant.instances.length} × ${variant.instance_type}, ${kind}`);
  each(instances, variant.instances, (instance) => instance.id, newInstance, (part, instance) =>
    updateInstance(part, instance, variant.multi_model));
}

function newEndpoint(endpoint) {
  const status = make("span", "pill");
  const reason = make("p", "reason");
  const variants = make("div");
  const title = make("h3", "", make("span", "name", endpoint.name), status, make("span", "soft", endpoint.region));
  const element = make("section", "endpoint", title, reason, variants);
  element.setAttribute("aria-label", `Endpoint ${endpoint.name}`);
  return withParts(element, { status, reason, variants });
}

function updateEndpoint(element, endpoint) {
  const { status, reason, variants } = element.parts;
  pill(status, endpoint.status);
  put(reason, endpoint.failure_reason ?? "");
  reason.hidden = !endpoint.failure_reason;
  each(variants, endpoint.variants, (variant) => variant.name, newVariant, updateVariant);
}

function totals(endpoints) {
  const instances = endpoints.flatMap((endpoint) => endpoint.variants.flatMap((variant) => variant.instances));
  const models = instances.flatMap((instance) => instance.models);
  const sum = (items, name) => items.reduce((total, item) => total + item[name], 0);
  const calls = sum(models, "calls");
  return [
    ["endpoints", count(endpoints.length)],
    ["instances", count(instances.length)],
    ["models loaded", count(models.filter((model) => model.state === "loaded").length)],
    ["calls of these", count(calls)],
    ["of them cold", percent(sum(models, "cold"), calls)],
    ["errors", count(sum(models, "errors"))],
    ["memory in use", bytes(sum(instances, "memory_used"))],
  ];
}

function show() {
  const { endpoints } = last;
  byId("empty").hidden = endpoints.length > 0;
  each(byId("endpoints"), endpoints, (endpoint) => `${endpoint.region}/${endpoint.name}`, newEndpoint, updateEndpoint);
  each(byId("totals"), totals(endpoints), ([name]) => name, ([name]) => make("div", "", make("dt", "", name), make("dd")), (part, [, value]) =>
    put(part.lastChild, value));
}

// Events

function newEvent(event) {
  const at = new Date(event.at * 1000);
  const time = make("time", "", at.toLocaleTimeString("en-GB"));
  time.dateTime = at.toISOString();
  const top = make("div", "top", time, make("span", `kind ${KINDS[event.kind] ?? ""}`, event.kind));
  if (event.model) {
    const model = make("span", "model", event.model);
    model.title = event.model;
    top.append(model);
  }
  if (event.ms !== null && event.ms !== undefined) top.append(make("span", "ms", ms(event.ms)));
  const { endpoint, instance } = event.place;
  const where = instance ? `${endpoint} ${instance.slice(0, 7)}` : endpoint;
  const item = make("li", "", top, make("div", "what", `${where}: ${event.message}`));
  item.title = event.message;
  item.hidden = !wanted(item.textContent);
  return item;
}

function add(event) {
  feed.prepend(newEvent(event));
  if (feed.children.length > MOST_EVENTS) feed.lastElementChild.remove();
}

// Live

function link(text, className) {
  put(byId("link"), text);
  byId("link").className = `pill ${className}`;
}

function listen() {
  const source = new EventSource("events");
  source.onopen = () => {
    // The last events come again with each connection.
    feed.replaceChildren();
    backlog = [];
    link("live", "good");
  };
  source.onerror = () => {
    link("not connected, trying again", "bad");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
  source.addEventListener("event", ({ data }) => {
    const event = JSON.parse(data);
    if (!paused) add(event);
    else backlog = [...backlog.slice(1 - MOST_EVENTS), event];
  });
  source.addEventListener("state", ({ data }) => {
    last = JSON.parse(data);
    if (!paused) show();
  });
}

byId("pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", String(paused));
  put(currentTarget, paused ? "Paused" : "Pause");
  if (paused) return;
  backlog.forEach(add);
  backlog = [];
  show();
});
filter.addEventListener("input", () => {
  show();
  for (const item of feed.children) item.hidden = !wanted(item.textContent);
});
put(byId("address"), `export AWS_ENDPOINT_URL=${location.origin}\nexport AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1`);
listen();

// The list of events, the newest first.

import { byId, createElement } from "./dom.js";
import { matchesFilter, onFilter } from "./filter.js";
import { ms } from "./format.js";
import { newTime } from "./widgets.js";

const MAX_EVENTS = 300;
const CLASSES = {
  loaded: "good", refused: "warn", failed: "bad", restarted: "bad", overwritten: "warn", fault: "warn", queue: "warn", alarm: "warn",
};
const feed = byId("events");

function newEvent(event) {
  const top = createElement("div", "top", newTime(event.at), createElement("span", `kind ${CLASSES[event.kind] ?? ""}`, event.kind));
  if (event.model) {
    const model = createElement("span", "model", event.model);
    model.title = event.model;
    top.append(model);
  }
  if (event.ms !== null && event.ms !== undefined) top.append(createElement("span", "ms", ms(event.ms)));
  const { endpoint, instance } = event.place;
  const where = instance ? `${endpoint} ${instance.slice(0, 7)}: ` : endpoint ? `${endpoint}: ` : "";
  const item = createElement("li", "", top, createElement("div", "what", where + event.message));
  item.title = event.message;
  item.hidden = !matchesFilter(item.textContent);
  return item;
}

export function addEvent(event) {
  feed.prepend(newEvent(event));
  if (feed.children.length > MAX_EVENTS) feed.lastElementChild.remove();
}

export const clearEvents = () => feed.replaceChildren();

/** Returns the newest of these that the list has room for. */
export const newestOf = (events) => events.slice(-MAX_EVENTS);

onFilter(() => {
  for (const item of feed.children) item.hidden = !matchesFilter(item.textContent);
});

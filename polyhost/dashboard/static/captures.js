// The latest captured requests of an endpoint, with their answers.

import { byId, createElement, reconcile } from "./dom.js";
import { chooseEndpoint } from "./endpoint_choice.js";
import { matchesFilter } from "./filter.js";
import { bytes } from "./format.js";
import { newQuestion } from "./question.js";
import { newTime } from "./widgets.js";

const select = byId("captures-endpoint");
const ask = newQuestion("captures");

/** Shows a body as text, or says what else it is. */
function newPayload(title, payload) {
  const about = payload ? `${payload.content_type} · ${payload.whole ? "" : "more than "}${bytes(payload.bytes)}` : "not captured";
  const element = createElement("div", "", createElement("p", "soft", `${title} · ${about}`));
  if (payload?.text) element.append(createElement("pre", "", payload.text));
  return element;
}

function newCapture({ at, variant, model, request, answer }) {
  const head = createElement("p", "top", newTime(at), createElement("strong", "", model || variant));
  if (model) head.append(createElement("span", "soft", variant));
  return createElement("li", "", head, createElement("div", "halves", newPayload("Request", request), newPayload("Answer", answer)));
}

function draw({ captures }) {
  const shown = captures.filter(({ model, variant }) => matchesFilter(model || variant));
  reconcile(byId("capture-list"), shown, ({ id }) => id, newCapture, () => {});
  byId("capture-list").hidden = !shown.length;
  byId("no-captures").hidden = shown.length > 0;
}

export async function renderCaptures({ endpoints }) {
  const endpoint = chooseEndpoint(select, endpoints);
  byId("captures-form").hidden = !endpoint;
  const answer = endpoint ? await ask(endpoint) : { captures: [] };
  if (answer) draw(answer);
}

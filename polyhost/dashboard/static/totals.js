// The numbers at the head of the page.

import { byId, createElement, reconcile, setText } from "./dom.js";
import { bytes, count, percent } from "./format.js";

const sum = (items, name) => items.reduce((total, item) => total + item[name], 0);

function totals({ of, endpoints }) {
  const instances = endpoints.flatMap((endpoint) => endpoint.variants.flatMap((variant) => variant.instances));
  const models = instances.flatMap((instance) => instance.models);
  const requests = sum(models, "calls");
  const hosts = of === "container" ? [] : [["endpoints", count(endpoints.length)], ["instances", count(instances.length)]];
  return [
    ...hosts,
    ["models loaded", count(models.filter((model) => model.state === "loaded").length)],
    ["requests", count(requests)],
    ["cold", percent(sum(models, "cold"), requests)],
    ["errors", count(sum(models, "errors"))],
    ["memory in use", bytes(sum(instances, "memory_used"))],
  ];
}

const newTotal = ([name]) => createElement("div", "", createElement("dt", "", name), createElement("dd"));

export function renderTotals(state) {
  reconcile(byId("totals"), totals(state), ([name]) => name, newTotal, (part, [, value]) => setText(part.lastChild, value));
}

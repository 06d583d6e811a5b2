// A field to choose an endpoint in. Its options are those that there are.

import { createElement, reconcile, setText } from "./dom.js";

const keyOf = ({ region, name }) => `${region}/${name}`;

function newOption(endpoint) {
  const option = createElement("option");
  option.value = keyOf(endpoint);
  return option;
}

/** Offers the endpoints, and returns the chosen one, if there are any. */
export function chooseEndpoint(select, endpoints) {
  reconcile(select, endpoints, keyOf, newOption, (option, { name, region }) => setText(option, `${name} (${region})`));
  return endpoints.find((endpoint) => keyOf(endpoint) === select.value) ?? null;
}

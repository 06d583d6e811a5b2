// The filter of models and events.

import { byId } from "./dom.js";

const input = byId("filter");

export const matchesFilter = (text) => text.toLowerCase().includes(input.value.trim().toLowerCase());

export const onFilter = (listener) => input.addEventListener("input", listener);

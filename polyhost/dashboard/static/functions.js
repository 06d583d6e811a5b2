// Functions of AWS Lambda with their last calls, and the addresses of APIs on this machine.

import { byId, createElement, reconcile, setText } from "./dom.js";
import { matchesFilter } from "./filter.js";
import { clock, ms } from "./format.js";
import { newTable, newTableRow } from "./tables.js";
import { setPill } from "./widgets.js";

const FUNCTION_COLUMNS = ["Function", "Last call", "At", "Duration", "URL"];
const API_COLUMNS = ["API", "Stage", "Address"];
const functionTable = newTable(FUNCTION_COLUMNS, "Functions and their last calls");
const apiTable = newTable(API_COLUMNS, "APIs and their addresses");
byId("function-list").append(functionTable);
byId("api-list").append(apiTable);

function newFunction({ name, region, runtime, memory_mb: memory }) {
  const row = newTableRow(FUNCTION_COLUMNS);
  const { cells } = row.parts;
  row.parts.about = createElement("span", "soft");
  row.parts.status = createElement("span", "pill");
  cells[0].append(name, row.parts.about);
  setText(row.parts.about, ` ${region} · ${runtime} · ${memory} MB`);
  cells[1].append(row.parts.status);
  return row;
}

function updateFunction({ parts: { cells, status } }, { last, url }) {
  setPill(status, last ? last.status : "Never");
  status.title = last?.error ?? "";
  setText(cells[2], last ? clock(last.at) : "–");
  setText(cells[3], last ? ms(last.duration_ms) : "–");
  setText(cells[4], url ?? "–");
}

function newApi({ name, type, region, stage, url }) {
  const row = newTableRow(API_COLUMNS);
  const { cells } = row.parts;
  cells[0].append(name, createElement("span", "soft", ` ${type} · ${region}`));
  setText(cells[1], stage);
  setText(cells[2], url);
  return row;
}

export function renderFunctions({ functions, apis }) {
  const named = ({ name }) => matchesFilter(name);
  byId("no-functions").hidden = functions.length + apis.length > 0;
  byId("function-list").hidden = !functions.length;
  byId("api-list").hidden = !apis.length;
  const keyOf = ({ region, name, runtime, memory_mb: memory }) => `${region} ${name} ${runtime} ${memory}`;
  reconcile(functionTable.parts.body, functions.filter(named), keyOf, newFunction, updateFunction);
  reconcile(apiTable.parts.body, apis.filter(named), ({ url }) => url, newApi, () => {});
}

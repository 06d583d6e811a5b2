// The alarms that clients have put, with their states and reasons.

import { byId, createElement, reconcile, setText } from "./dom.js";
import { matchesFilter } from "./filter.js";
import { ago } from "./format.js";
import { newTable, newTableRow } from "./tables.js";
import { setPill } from "./widgets.js";

const COLUMNS = ["Alarm", "State", "For", "Condition", "Reason"];
const table = newTable(COLUMNS, "Alarms");
byId("alarm-list").append(table);

function newAlarm({ name, region }) {
  const row = newTableRow(COLUMNS);
  const { cells } = row.parts;
  const status = createElement("span", "pill");
  cells[0].append(name, createElement("span", "soft", ` ${region}`));
  cells[1].append(status);
  row.parts.status = status;
  return row;
}

function updateAlarm(row, alarm) {
  const { cells, status } = row.parts;
  setPill(status, alarm.state);
  setText(cells[2], ago(alarm.since));
  setText(cells[3], alarm.condition);
  setText(cells[4], alarm.actions_enabled ? alarm.reason : `${alarm.reason} (actions disabled)`);
}

export function renderAlarms({ alarms }) {
  byId("no-alarms").hidden = alarms.length > 0;
  byId("alarm-list").hidden = !alarms.length;
  const shown = alarms.filter(({ name }) => matchesFilter(name));
  reconcile(table.parts.body, shown, ({ region, name }) => `${region}/${name}`, newAlarm, updateAlarm);
}

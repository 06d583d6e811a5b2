// What Application Auto Scaling did, and why: as DescribeScalingActivities tells it.

import { byId, createElement, reconcile, setText } from "./dom.js";
import { matchesFilter } from "./filter.js";
import { clock } from "./format.js";
import { newTable, newTableRow } from "./tables.js";
import { setPill } from "./widgets.js";

const COLUMNS = ["Variant", "Outcome", "At", "Change", "Cause"];
const table = newTable(COLUMNS, "Scaling activities, the latest first");
byId("scaling-list").append(table);

function newActivity({ resource, region, started, cause }) {
  const row = newTableRow(COLUMNS);
  const { cells } = row.parts;
  const status = createElement("span", "pill");
  cells[0].append(resource, createElement("span", "soft", ` ${region}`));
  cells[1].append(status);
  setText(cells[2], clock(started));
  setText(cells[4], cause);
  row.parts.status = status;
  return row;
}

function updateActivity({ parts: { cells, status } }, activity) {
  setPill(status, activity.status);
  const reason = activity.reason ? `${activity.reason.Code} at ${activity.reason.CurrentCapacity}` : activity.message;
  setText(cells[3], reason ? `${activity.description} (${reason})` : activity.description);
}

export function renderScaling({ scaling_activities: activities }) {
  byId("no-scaling").hidden = activities.length > 0;
  byId("scaling-list").hidden = !activities.length;
  const shown = activities.filter(({ resource }) => matchesFilter(resource));
  reconcile(table.parts.body, shown, ({ id }) => id, newActivity, updateActivity);
}

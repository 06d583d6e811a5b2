// Tables. Where one is too narrow for its columns, the style sheet shows each row as a block with labels in its cells,
// for which browsers forget that it is a table: hence the roles.

import { createElement } from "./dom.js";

/** Returns a table with a caption for screen readers, and its body in `parts`. */
export function newTable(columns, caption) {
  const head = columns.map((name) => {
    const cell = withRole(createElement("th", "", name), "columnheader");
    cell.scope = "col";
    return cell;
  });
  const body = withRole(createElement("tbody"), "rowgroup");
  const top = withRole(createElement("thead", "", withRole(createElement("tr", "", ...head), "row")), "rowgroup");
  const table = createElement("table", "", createElement("caption", "hidden", caption), top, body);
  table.parts = { body };
  return withRole(table, "table");
}

/** Returns a row, and its cells in `parts`. */
export function newTableRow(columns) {
  const cells = columns.map((name) => {
    const cell = withRole(createElement("td"), "cell");
    cell.dataset.label = name;
    return cell;
  });
  const row = withRole(createElement("tr", "", ...cells), "row");
  row.parts = { cells };
  return row;
}

function withRole(element, role) {
  element.setAttribute("role", role);
  return element;
}

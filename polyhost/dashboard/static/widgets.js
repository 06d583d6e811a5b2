// Small parts of which views are made.

import { createElement, createSvg, setText } from "./dom.js";
import { clock, ms } from "./format.js";

const STATUS_CLASSES = {
  good: ["InService", "Completed", "Warm", "Busy", "Done", "OK", "Successful", "Succeeded"],
  bad: ["Failed", "Restarting", "Stopped", "OutOfService", "UpdateRollbackFailed", "RolledBack", "RollbackFailed", "ALARM"],
};

export function newBar(label) {
  const element = createElement("span", "bar", createElement("i"));
  element.setAttribute("role", "meter");
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-valuemin", "0");
  element.setAttribute("aria-valuemax", "100");
  return element;
}

export function fillBar(element, share, text, warns = false) {
  const value = Math.min(100, Math.round(100 * share));
  element.firstChild.style.width = `${value}%`;
  element.classList.toggle("warn", warns && value >= 80 && value < 95);
  element.classList.toggle("bad", warns && value >= 95);
  element.setAttribute("aria-valuenow", String(value));
  element.setAttribute("aria-valuetext", text);
}

export function setPill(element, status) {
  setText(element, status);
  const kind = Object.keys(STATUS_CLASSES).find((name) => STATUS_CLASSES[name].includes(status));
  element.className = `pill ${kind ?? "warn"}`;
}

export function newTime(at) {
  const element = createElement("time", "", clock(at));
  element.dateTime = new Date(at * 1000).toISOString();
  return element;
}

export function newSparkline() {
  const attributes = { class: "sparkline", viewBox: "0 0 64 16", preserveAspectRatio: "none", role: "img" };
  return createSvg("svg", attributes, createSvg("polyline"));
}

export function drawSparkline(svg, values) {
  const top = Math.max(...values, 0.001);
  const step = values.length > 1 ? 62 / (values.length - 1) : 62;
  const heights = values.length === 1 ? [values[0], values[0]] : values;
  const points = heights.map((value, i) => `${(1 + i * step).toFixed(1)},${(15 - (13 * value) / top).toFixed(1)}`).join(" ");
  const label = values.length
    ? `last ${values.length} requests: ${ms(Math.min(...values))} to ${ms(Math.max(...values))}`
    : "no requests yet";
  svg.firstChild.setAttribute("points", points);
  svg.setAttribute("aria-label", label);
}

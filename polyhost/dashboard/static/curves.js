// Throughput and latency of an endpoint's variants, or of its models, over the last minutes.

import { drawChart, MOST_LINES, newChart } from "./charts.js";
import { byId, setText } from "./dom.js";
import { chooseEndpoint } from "./endpoint_choice.js";
import { matchesFilter } from "./filter.js";
import { ms } from "./format.js";
import { newQuestion } from "./question.js";

const REQUESTS = 1;
const CHARTS = [
  { chart: newChart("Requests per second"), format: (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 }) },
  { chart: newChart("Latency of the model, p50"), column: 2, format: ms },
  { chart: newChart("Latency of the model, p99"), column: 3, format: ms },
];
const select = byId("curves-endpoint");
const by = byId("curves-by");
byId("curve-list").append(...CHARTS.map(({ chart }) => chart));
const ask = newQuestion("curves");

const total = ({ points }) => points.reduce((sum, point) => sum + point[REQUESTS], 0);

/** Names a curve by what tells it from the others: two fleets of one variant have different configurations. */
function nameOf({ variant, config, model }, all) {
  const parts = [model || variant];
  if (model && all.some((other) => other.variant !== variant)) parts.push(variant);
  if (all.some((other) => other.config !== config)) parts.push(config);
  return parts.join(", ");
}

/** Returns the requests of each step, 0 where there were none. The current step is not over yet. */
function throughput({ points }, { since, step_s: step, now }) {
  const requests = new Map(points.map((point) => [point[0], point[REQUESTS]]));
  const steps = [];
  for (let at = points[0][0]; at + step <= now; at += step) steps.push([at, (requests.get(at) ?? 0) / step]);
  return steps;
}

function draw(answer) {
  const byModel = by.value === "models";
  const curves = answer.curves.filter(({ model }) => Boolean(model) === byModel);
  const named = curves.map((curve) => ({ ...curve, name: nameOf(curve, curves) }));
  const found = named.filter(({ name }) => matchesFilter(name)).sort((a, b) => total(b) - total(a));
  const shown = found.slice(0, MOST_LINES).sort((a, b) => (a.name < b.name ? -1 : 1));
  const from = Math.min(answer.now - 60, ...shown.map(({ points }) => points[0][0]));
  for (const { chart, column, format } of CHARTS) {
    const lines = shown.map((curve) => ({
      name: curve.name,
      points: column ? curve.points.map((point) => [point[0], point[column]]) : throughput(curve, answer),
    }));
    drawChart(chart, lines, { from, to: answer.now, format });
  }
  const rest = found.length - shown.length;
  setText(byId("curves-note"), rest ? `The ${shown.length} with the most requests; ${rest} more can be found by the filter.` : "");
  byId("no-curves").hidden = shown.length > 0;
}

export async function renderCurves({ endpoints }) {
  const endpoint = chooseEndpoint(select, endpoints);
  byId("curves-form").hidden = byId("curve-list").hidden = !endpoint;
  if (!endpoint) byId("no-curves").hidden = false;
  const answer = endpoint ? await ask(endpoint) : null;
  if (answer) draw(answer);
}

// The latest deployment of each endpoint: its stages, and the fleets' shares of the traffic over time.

import { drawChart, newChart } from "./charts.js";
import { byId, createElement, reconcile, setText, showText, withParts } from "./dom.js";
import { clock, percent } from "./format.js";
import { newTime, setPill } from "./widgets.js";

const ENDED = ["Done", "RolledBack", "RollbackFailed"];

function newDeployment(endpoint) {
  const status = createElement("span", "pill");
  const facts = createElement("p", "soft");
  const reason = createElement("p", "reason");
  const chart = newChart("Share of the traffic");
  const steps = createElement("ol", "steps");
  steps.setAttribute("aria-label", `Steps of the deployment of ${endpoint.name}`);
  const title = createElement("h3", "", createElement("span", "name", endpoint.name), status, createElement("span", "soft", endpoint.region));
  const element = createElement("section", "card", title, facts, reason, createElement("div", "halves", chart, steps));
  element.setAttribute("aria-label", `Deployment of ${endpoint.name}`);
  return withParts(element, { status, facts, reason, chart, steps });
}

function newStep({ at, stage, message }) {
  const label = createElement("span", "pill");
  setPill(label, stage);
  return createElement("li", "", newTime(at), label, createElement("span", "what", message));
}

function lines(steps, until) {
  const configs = [...new Set(steps.flatMap(({ shares }) => Object.keys(shares)))];
  return configs.map((name) => {
    const points = steps.map(({ at, shares }) => [at, shares[name] ?? 0]);
    return { name, points: [...points, [until, points.at(-1)[1]]] };
  });
}

function updateDeployment(element, { deployment, failure_reason: failure }) {
  const { status, facts, reason, chart, steps } = element.parts;
  const latest = deployment.steps.at(-1);
  setPill(status, deployment.stage);
  const watched = deployment.alarms.length ? `watches ${deployment.alarms.join(", ")}` : "watches no alarm";
  setText(facts, `${deployment.strategy} to ${deployment.config} · since ${clock(deployment.since)} · ${watched}`);
  showText(reason, failure ?? "");
  const from = deployment.steps[0].at;
  // What is over is drawn with some time after it, so that its last step can be seen.
  const until = ENDED.includes(deployment.stage) ? latest.at + Math.max(1, (latest.at - from) / 10) : Math.max(Date.now() / 1000, latest.at);
  drawChart(chart, lines(deployment.steps, until), { from, to: until, format: (value) => percent(value), top: 1, steps: true });
  reconcile(steps, deployment.steps, (step) => `${step.at}/${step.stage}`, newStep, () => {});
}

export function renderDeployments({ endpoints }) {
  const updated = endpoints.filter(({ deployment }) => deployment);
  byId("no-deployments").hidden = updated.length > 0;
  const keyOf = ({ region, name, deployment }) => `${region}/${name}/${deployment.since}`;
  reconcile(byId("deployment-list"), updated, keyOf, newDeployment, updateDeployment);
}

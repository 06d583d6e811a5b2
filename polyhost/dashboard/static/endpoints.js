// Endpoints with their variants.

import { byId, createElement, reconcile, setText, showText, withParts } from "./dom.js";
import { count, ms, percent } from "./format.js";
import { newInstance, updateInstance } from "./instances.js";
import { fillBar, newBar, setPill } from "./widgets.js";

function newVariant(variant) {
  const share = newBar(`Traffic of ${variant.name}`);
  share.classList.add("share");
  const shareText = createElement("span", "soft");
  const type = createElement("span", "soft");
  const instances = createElement("div", "instances");
  const title = createElement("h4", "", createElement("span", "name", variant.name), share, shareText, type);
  title.hidden = variant.instance_type === null && !variant.serverless; // a container by itself
  return withParts(createElement("div", "variant", title, instances), { share, shareText, type, instances });
}

function kindOf(variant) {
  const model = variant.multi_model ? "multi-model" : "single model";
  if (variant.containers.length < 2) return model;
  return variant.execution === "Direct"
    ? `direct invocation of ${variant.containers.join(", ")}`
    : `pipeline of ${variant.containers.join(" → ")}`;
}

/** Describes a serverless variant: its limits, its containers and what became of its calls. */
function serverlessFacts({ serverless, instances }) {
  const number = (status) => instances.filter((container) => container.status === status).length;
  const facts = [
    `serverless, ${count(serverless.memory_mb)} MB`,
    `${count(serverless.executions)} of ${count(serverless.max_concurrency)} calls`,
    `${number("Warm")} warm, ${number("Busy")} busy, ${number("Starting")} starting`,
  ];
  if (serverless.provisioned) facts.push(`${count(serverless.provisioned)} provisioned`);
  facts.push(`${count(serverless.cold_starts)} cold starts`, `${count(serverless.throttled)} throttled`);
  return facts.join(" · ");
}

function updateVariant(element, variant) {
  const { share, shareText, type, instances } = element.parts;
  const part = `${percent(variant.share)} of the traffic`;
  const traffic = variant.shadow ? `shadow: copies of ${part}, ${count(variant.copies_in_flight)} on their way` : part;
  fillBar(share, variant.share, traffic);
  setText(shareText, traffic);
  const facts = variant.serverless ? serverlessFacts(variant) : `${variant.instances.length} × ${variant.instance_type}, ${kindOf(variant)}`;
  setText(type, `${facts}, of ${variant.config}`);
  reconcile(instances, variant.instances, (instance) => instance.id, newInstance, (part, instance) =>
    updateInstance(part, instance, variant.multi_model));
}

function newEndpoint(endpoint) {
  const status = createElement("span", "pill");
  const reason = createElement("p", "reason");
  const deployment = createElement("p", "soft");
  const queue = createElement("p", "soft");
  const variants = createElement("div");
  const title = createElement("h3", "", createElement("span", "name", endpoint.name), status, createElement("span", "soft", endpoint.region));
  const element = createElement("section", "card", title, reason, deployment, queue, variants);
  element.setAttribute("aria-label", `Endpoint ${endpoint.name}`);
  return withParts(element, { status, reason, deployment, queue, variants });
}

/** Describes an update in progress, or the last one. */
function deploymentFacts({ config, strategy, stage, share, alarms }) {
  const facts = [`deployment of ${config}: ${stage}`, strategy, `${percent(share)} of the traffic`];
  if (alarms.length) facts.push(`watches ${alarms.join(", ")}`);
  return facts.join(" · ");
}

/** Describes the queue of an asynchronous endpoint. */
function queueFacts(queue) {
  const facts = [`queue: ${count(queue.waiting)} waiting`, `${count(queue.running)} in flight`, `at most ${count(queue.per_instance)} per instance`];
  if (queue.waiting + queue.running) facts.push(`the oldest is ${ms(1000 * queue.oldest_s)} old`);
  return facts.join(" · ");
}

function updateEndpoint(element, endpoint) {
  const { status, reason, deployment, queue, variants } = element.parts;
  setPill(status, endpoint.status);
  showText(reason, endpoint.failure_reason ?? "");
  showText(deployment, endpoint.deployment ? deploymentFacts(endpoint.deployment) : "");
  showText(queue, endpoint.queue ? queueFacts(endpoint.queue) : "");
  // During a deployment two fleets have variants of the same name, perhaps of the same configuration.
  reconcile(variants, endpoint.variants, (variant) => `${variant.name}/${variant.config}/${variant.started}`, newVariant, updateVariant);
}

export function renderEndpoints({ endpoints, transform_jobs: jobs }) {
  byId("empty").hidden = endpoints.length + jobs.length > 0;
  reconcile(byId("endpoint-list"), endpoints, (endpoint) => `${endpoint.region}/${endpoint.name}`, newEndpoint, updateEndpoint);
}

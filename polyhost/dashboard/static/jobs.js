// Transform jobs.

import { byId, createElement, reconcile, setText, showText, withParts } from "./dom.js";
import { count, ms, percent } from "./format.js";
import { newInstance, updateInstance } from "./instances.js";
import { fillBar, newBar, setPill } from "./widgets.js";

function newJob(job) {
  const status = createElement("span", "pill");
  const progress = newBar(`Objects of ${job.name}`);
  const facts = createElement("p", "soft");
  const reason = createElement("p", "reason");
  const instances = createElement("div", "instances");
  const title = createElement("h3", "", createElement("span", "name", job.name), status, progress, createElement("span", "soft", job.region));
  const element = createElement("section", "card", title, facts, reason, instances);
  element.setAttribute("aria-label", `Transform job ${job.name}`);
  return withParts(element, { status, progress, facts, reason, instances });
}

function jobFacts(job) {
  const facts = [`transform job: ${count(job.completed)} of ${count(job.objects)} objects`];
  if (job.failed) facts.push(`${count(job.failed)} failed`);
  facts.push(`${count(job.records)} records`);
  if (job.instances.length) facts.push(`${job.instances.length} × ${job.instance_type}`);
  if (job.started && job.ended) facts.push(`${ms(1000 * (job.ended - job.started))} on instances`);
  return facts.join(" · ");
}

function updateJob(element, job) {
  const { status, progress, facts, reason, instances } = element.parts;
  setPill(status, job.status);
  const done = job.objects ? (job.completed + job.failed) / job.objects : 0;
  fillBar(progress, done, `${percent(done)} of the objects`);
  setText(facts, jobFacts(job));
  showText(reason, job.failure_reason ?? "");
  reconcile(instances, job.instances, (instance) => instance.id, newInstance, (part, instance) => updateInstance(part, instance, false));
}

export function renderJobs({ transform_jobs: jobs }) {
  reconcile(byId("job-list"), jobs, (job) => `${job.region}/${job.name}`, newJob, updateJob);
}

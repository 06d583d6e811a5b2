// The dashboard of the emulator, and of a container with a model store, which is shown as one endpoint of one instance.

import { renderAlarms } from "./alarms.js";
import { renderCaptures } from "./captures.js";
import { renderCurves } from "./curves.js";
import { renderDeployments } from "./deployments.js";
import { byId, setText } from "./dom.js";
import { renderEndpoints } from "./endpoints.js";
import { addEvent, clearEvents, newestOf } from "./events.js";
import { onFilter } from "./filter.js";
import { renderFunctions } from "./functions.js";
import { renderJobs } from "./jobs.js";
import { connect } from "./live.js";
import { renderRequest } from "./request.js";
import { renderScaling } from "./scaling.js";
import { renderTotals } from "./totals.js";
import { followAddress, shownView } from "./views.js";

const VIEWS = {
  endpoints: (state) => {
    renderEndpoints(state);
    renderJobs(state);
  },
  deployments: renderDeployments,
  curves: renderCurves,
  alarms: renderAlarms,
  scaling: renderScaling,
  captures: renderCaptures,
  functions: renderFunctions,
  request: renderRequest,
};

let paused = false;
let state = null; // the latest, shown or not
let backlog = []; // events that came while paused

function render() {
  if (state === null) return;
  setText(byId("of"), state.of);
  document.title = `polyhost ${state.of}`;
  byId("views").hidden = state.of === "container"; // which has but one
  renderTotals(state);
  VIEWS[shownView()](state);
}

function onEvent(event) {
  if (paused) backlog = newestOf([...backlog, event]);
  else addEvent(event);
}

function onState(latest) {
  state = latest;
  if (!paused) render();
}

function onOpen() {
  clearEvents();
  backlog = [];
}

byId("pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", String(paused));
  setText(currentTarget, paused ? "Paused" : "Pause");
  if (paused) return;
  backlog.forEach(addEvent);
  backlog = [];
  render();
});
onFilter(render);
document.querySelector("main").addEventListener("change", render);
followAddress(render);
setText(byId("address"), `export AWS_ENDPOINT_URL=${location.origin}\nexport AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1`);
connect({ onOpen, onEvent, onState });

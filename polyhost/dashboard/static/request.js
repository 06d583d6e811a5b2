// A box to send a request to an endpoint: InvokeEndpoint, as any AWS client sends it.

import { byId, createElement, reconcile, setText, showText } from "./dom.js";
import { chooseEndpoint } from "./endpoint_choice.js";
import { bytes, ms } from "./format.js";
import { newTable, newTableRow } from "./tables.js";

const MOST_SHOWN = 20000; // characters of an answer
const COLUMNS = ["Header", "Value"];
const form = byId("request-form");
const field = (name) => byId(`request-${name}`);
const headerTable = newTable(COLUMNS, "Headers of the answer");
byId("answer-headers").append(headerTable);
let endpoint = null;

function offer(select, values, first) {
  const choices = [...(first ? [["", first]] : []), ...values.map((value) => [value, value])];
  reconcile(select, choices, ([value]) => value, () => createElement("option"), (option, [value, text]) => {
    option.value = value;
    setText(option, text);
  });
}

const namesOf = (lists) => [...new Set(lists.flat())].sort();

export function renderRequest({ endpoints }) {
  endpoint = chooseEndpoint(field("endpoint"), endpoints);
  form.hidden = !endpoint;
  byId("no-target").hidden = Boolean(endpoint);
  if (!endpoint) return;
  const variants = endpoint.variants.filter(({ shadow }) => !shadow);
  offer(field("variant"), namesOf(variants.map(({ name }) => name)), "by weight");
  const direct = variants.filter(({ execution }) => execution === "Direct");
  offer(field("container"), namesOf(direct.map(({ containers }) => containers)), "none");
  byId("for-container").hidden = !direct.length;
  byId("for-model").hidden = !variants.some(({ multi_model: multiModel }) => multiModel);
  const models = variants.flatMap(({ instances }) => instances.map((instance) => instance.models.map(({ name }) => name)));
  offer(byId("request-models"), namesOf(models));
}

function headersOf() {
  const headers = new Headers({
    // The emulator takes the region from here, and does not check signatures.
    Authorization: `AWS4-HMAC-SHA256 Credential=dashboard/20000101/${endpoint.region}/sagemaker/aws4_request, SignedHeaders=host, Signature=none`,
  });
  const wanted = [
    ["Content-Type", "content-type"],
    ["Accept", "accept"],
    ["X-Amzn-SageMaker-Target-Variant", "variant"],
    ["X-Amzn-SageMaker-Target-Model", "model"],
    ["X-Amzn-SageMaker-Target-Container-Hostname", "container"],
  ];
  for (const [header, name] of wanted) {
    if (field(name).value && !field(name).closest("[hidden]")) headers.set(header, field(name).value);
  }
  return headers;
}

async function send() {
  const [file] = field("file").files;
  const start = performance.now();
  const response = await fetch(`/endpoints/${encodeURIComponent(endpoint.name)}/invocations`, {
    method: "POST",
    headers: headersOf(),
    body: file ?? field("body").value,
  });
  const content = await response.arrayBuffer();
  return { response, content, took: performance.now() - start };
}

/** Returns the text of a body, or what else it is. */
function textOf(content) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(content);
    return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}\n… (${bytes(content.byteLength)} in all)` : text;
  } catch {
    return `(${bytes(content.byteLength)} that are not text)`;
  }
}

/** Returns the error that AWS's clients would raise, and its message. */
function errorOf(response, text) {
  if (response.ok) return "";
  const type = response.headers.get("x-amzn-errortype") ?? "";
  try {
    return `${type}: ${JSON.parse(text).Message ?? text}`;
  } catch {
    return `${type}: ${text}`;
  }
}

function newHeader([name]) {
  const row = newTableRow(COLUMNS);
  setText(row.parts.cells[0], name);
  return row;
}

function showAnswer({ response, content, took }) {
  const text = textOf(content);
  showStatus(`${response.status} ${response.statusText}`, response.ok);
  setText(byId("answer-time"), `${ms(took)} · ${bytes(content.byteLength)}`);
  showText(byId("answer-error"), errorOf(response, text));
  reconcile(headerTable.parts.body, [...response.headers], ([name]) => name, newHeader, ({ parts }, [, value]) =>
    setText(parts.cells[1], value));
  setText(byId("answer-body"), text);
}

function showFailure(error) {
  showStatus("not sent", false);
  setText(byId("answer-time"), "");
  showText(byId("answer-error"), `The browser did not send it, or got no answer: ${error.message}`);
  reconcile(headerTable.parts.body, [], ([name]) => name);
  setText(byId("answer-body"), "");
}

function showStatus(text, good) {
  setText(byId("answer-status"), text);
  byId("answer-status").className = `pill ${good ? "good" : "bad"}`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  field("send").disabled = true;
  try {
    showAnswer(await send());
  } catch (error) {
    showFailure(error);
  }
  field("send").disabled = false;
  field("send").focus(); // a button that is disabled loses it
  byId("answer").hidden = false;
});
field("file").addEventListener("change", () => {
  field("body").disabled = field("file").files.length > 0;
});

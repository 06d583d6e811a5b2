// A real-time endpoint: invoked, streamed from, updated, deleted.
import assert from "node:assert/strict";
import {
  DescribeEndpointCommand,
  ListEndpointsCommand,
  UpdateEndpointCommand,
  DeleteEndpointConfigCommand,
  DeleteModelCommand,
} from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  ModelError,
} from "@aws-sdk/client-sagemaker-runtime";
import { createConfig, createModel, deploy, image, inService, name, remove, runtime, sagemaker, upload } from "./common.mjs";

const container = (model) => ({ Image: image, ModelDataUrl: `s3://${name}/models/${model}.tar.gz` });

async function update(model) {
  await createModel(`${name}-${model}`, [container(model)]);
  await createConfig(`${name}-${model}`, `${name}-${model}`);
  await sagemaker.send(new UpdateEndpointCommand({ EndpointName: name, EndpointConfigName: `${name}-${model}` }));
  await inService(name);
}

await upload();
await deploy([container("one")]);
const question = { EndpointName: name, Body: "a question", ContentType: "text/plain", CustomAttributes: "from=js" };
const response = await runtime.send(new InvokeEndpointCommand(question));
const answer = JSON.parse(response.Body.transformToString());
assert.deepEqual([answer.name, answer.length, response.CustomAttributes], ["one", 10, "from=js"]);
assert.equal(response.InvokedProductionVariant, "AllTraffic");

await update("stream");
const { Body } = await runtime.send(new InvokeEndpointWithResponseStreamCommand({ EndpointName: name, Body: "?" }));
const parts = [];
for await (const event of Body) {
  parts.push(new TextDecoder().decode(event.PayloadPart.Bytes));
}
assert.equal(parts.join(""), "a stream");

await update("broken");
await assert.rejects(runtime.send(new InvokeEndpointCommand({ EndpointName: name, Body: "?" })), (error) => {
  assert(error instanceof ModelError);
  assert.equal(error.OriginalStatusCode, 500);
  return true;
});

const { Endpoints } = await sagemaker.send(new ListEndpointsCommand({ NameContains: name }));
assert.deepEqual(Endpoints.map((endpoint) => endpoint.EndpointStatus), ["InService"]);
await remove();
await assert.rejects(sagemaker.send(new DescribeEndpointCommand({ EndpointName: name })), { name: "ValidationException" });
for (const model of ["stream", "broken"]) {
  await sagemaker.send(new DeleteEndpointConfigCommand({ EndpointConfigName: `${name}-${model}` }));
  await sagemaker.send(new DeleteModelCommand({ ModelName: `${name}-${model}` }));
}

// A multi-container endpoint with direct invocation.
import assert from "node:assert/strict";
import { InvokeEndpointCommand } from "@aws-sdk/client-sagemaker-runtime";
import { deploy, image, instance, name, remove, runtime, upload } from "./common.mjs";

await upload();
const containers = ["one", "two"].map((host) => ({
  ContainerHostname: host,
  Image: image,
  ModelDataUrl: `s3://${name}/models/${host}.tar.gz`,
}));
await deploy(containers, {}, instance, { InferenceExecutionConfig: { Mode: "Direct" } });
const call = { EndpointName: name, Body: "5.1,3.5" };
for (const host of ["one", "two"]) {
  const { Body } = await runtime.send(new InvokeEndpointCommand({ ...call, TargetContainerHostname: host }));
  assert.equal(JSON.parse(Body.transformToString()).name, host);
}
await assert.rejects(runtime.send(new InvokeEndpointCommand(call)), { name: "ValidationError" });
await remove();

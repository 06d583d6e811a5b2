// A shadow variant: it gets a copy of each call, and its responses are dropped.
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { DeleteModelCommand, DescribeEndpointCommand } from "@aws-sdk/client-sagemaker";
import { InvokeEndpointCommand } from "@aws-sdk/client-sagemaker-runtime";
import { createModel, deploy, image, instance, name, remove, runtime, sagemaker, upload } from "./common.mjs";

const container = (model) => ({ Image: image, ModelDataUrl: `s3://${name}/models/${model}.tar.gz` });

async function copies() {
  const response = await fetch(`${process.env.AWS_ENDPOINT_URL}/_polyhost/metrics`);
  const lines = (await response.text()).split("\n");
  return lines.find((line) => /^polyhost_invocations_total\{.*variant="Shadow"/.test(line) && line.includes(`"${name}"`));
}

await upload();
await createModel(`${name}-copy`, [container("two")]);
const shadow = { VariantName: "Shadow", ModelName: `${name}-copy`, ...instance };
await deploy([container("one")], { ShadowProductionVariants: [shadow] });
const described = await sagemaker.send(new DescribeEndpointCommand({ EndpointName: name }));
assert.deepEqual(described.ShadowProductionVariants.map((variant) => variant.VariantName), ["Shadow"]);
const response = await runtime.send(new InvokeEndpointCommand({ EndpointName: name, Body: "5.1,3.5" }));
assert.equal(response.InvokedProductionVariant, "AllTraffic");
assert.equal(JSON.parse(response.Body.transformToString()).name, "one");
for (let tries = 0; !(await copies()); tries++) {
  assert(tries < 600, "no copy has reached the shadow variant");
  await setTimeout(100);
}
assert.match(await copies(), / 1(\.0)?$/);
await remove();
await sagemaker.send(new DeleteModelCommand({ ModelName: `${name}-copy` }));

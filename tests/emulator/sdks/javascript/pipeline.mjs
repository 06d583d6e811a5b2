// A serial inference pipeline.
import assert from "node:assert/strict";
import { InvokeEndpointCommand } from "@aws-sdk/client-sagemaker-runtime";
import { deploy, image, name, remove, runtime, upload } from "./common.mjs";

await upload();
await deploy(["one", "two"].map((model) => ({ Image: image, ModelDataUrl: `s3://${name}/models/${model}.tar.gz` })));
const { Body } = await runtime.send(new InvokeEndpointCommand({ EndpointName: name, Body: "5.1,3.5" }));
const second = JSON.parse(Body.transformToString());
const first = JSON.parse(second.body);
assert.deepEqual([first.name, first.body, second.name], ["one", "5.1,3.5", "two"]);
await remove();

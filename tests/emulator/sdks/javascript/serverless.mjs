// A serverless endpoint.
import assert from "node:assert/strict";
import { DescribeEndpointCommand } from "@aws-sdk/client-sagemaker";
import { InvokeEndpointCommand } from "@aws-sdk/client-sagemaker-runtime";
import { deploy, image, name, remove, runtime, sagemaker, upload } from "./common.mjs";

await upload();
const ServerlessConfig = { MemorySizeInMB: 1024, MaxConcurrency: 2 };
const container = { Image: image, ModelDataUrl: `s3://${name}/models/one.tar.gz` };
await deploy([container], {}, { ServerlessConfig });
const { Body } = await runtime.send(new InvokeEndpointCommand({ EndpointName: name, Body: "?" }));
assert.equal(JSON.parse(Body.transformToString()).name, "one");
const { ProductionVariants } = await sagemaker.send(new DescribeEndpointCommand({ EndpointName: name }));
assert.deepEqual(ProductionVariants[0].CurrentServerlessConfig, ServerlessConfig);
await remove();

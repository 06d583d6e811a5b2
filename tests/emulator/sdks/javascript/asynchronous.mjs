// Asynchronous inference: the input and the result are in S3.
import assert from "node:assert/strict";
import { GetObjectCommand, PutObjectCommand, waitUntilObjectExists } from "@aws-sdk/client-s3";
import { InvokeEndpointAsyncCommand } from "@aws-sdk/client-sagemaker-runtime";
import { deploy, image, name, remove, runtime, s3, upload } from "./common.mjs";

await upload();
const OutputConfig = { S3OutputPath: `s3://${name}/output`, S3FailurePath: `s3://${name}/failures` };
const container = { Image: image, ModelDataUrl: `s3://${name}/models/one.tar.gz` };
await deploy([container], { AsyncInferenceConfig: { OutputConfig } });
await s3.send(new PutObjectCommand({ Bucket: name, Key: "input", Body: "a question" }));
const request = { EndpointName: name, InputLocation: `s3://${name}/input`, ContentType: "text/plain" };
const { OutputLocation, InferenceId } = await runtime.send(new InvokeEndpointAsyncCommand(request));
assert(InferenceId && OutputLocation.startsWith(`s3://${name}/output/`), OutputLocation);
const output = { Bucket: name, Key: OutputLocation.slice(`s3://${name}/`.length) };
await waitUntilObjectExists({ client: s3, minDelay: 1, maxDelay: 2, maxWaitTime: 60 }, output);
const { Body } = await s3.send(new GetObjectCommand(output));
const answer = JSON.parse(await Body.transformToString());
assert.deepEqual([answer.name, answer.body], ["one", "a question"]);
await remove();

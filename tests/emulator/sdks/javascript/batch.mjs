// Batch transform, with its waiter.
import assert from "node:assert/strict";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import {
  CreateTransformJobCommand,
  DeleteModelCommand,
  DescribeTransformJobCommand,
  waitUntilTransformJobCompletedOrStopped,
} from "@aws-sdk/client-sagemaker";
import { createModel, image, name, s3, sagemaker, upload, waiter } from "./common.mjs";

await upload();
await createModel(name, [{ Image: image, ModelDataUrl: `s3://${name}/models/one.tar.gz` }]);
await s3.send(new PutObjectCommand({ Bucket: name, Key: "input/day.csv", Body: "1,2\n3,4\n" }));
const S3DataSource = { S3DataType: "S3Prefix", S3Uri: `s3://${name}/input/` };
const job = {
  TransformJobName: name,
  ModelName: name,
  BatchStrategy: "SingleRecord",
  TransformInput: { DataSource: { S3DataSource }, ContentType: "text/csv", SplitType: "Line" },
  TransformOutput: { S3OutputPath: `s3://${name}/output`, AssembleWith: "Line" },
  TransformResources: { InstanceType: "ml.m5.xlarge", InstanceCount: 1 },
};
await sagemaker.send(new CreateTransformJobCommand(job));
await waitUntilTransformJobCompletedOrStopped(waiter, { TransformJobName: name });
const described = await sagemaker.send(new DescribeTransformJobCommand({ TransformJobName: name }));
assert.equal(described.TransformJobStatus, "Completed", described.FailureReason);
assert(described.TransformEndTime instanceof Date);
const { Body } = await s3.send(new GetObjectCommand({ Bucket: name, Key: "output/day.csv.out" }));
const lines = (await Body.transformToString()).trim().split("\n");
assert.deepEqual(lines.map((line) => JSON.parse(line).body.trim()), ["1,2", "3,4"]);
await sagemaker.send(new DeleteModelCommand({ ModelName: name }));

// What the scripts share: a script gets a name for its resources, and archives of models as files.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  CreateEndpointCommand,
  CreateEndpointConfigCommand,
  CreateModelCommand,
  DeleteEndpointCommand,
  DeleteEndpointConfigCommand,
  DeleteModelCommand,
  SageMakerClient,
  waitUntilEndpointDeleted,
  waitUntilEndpointInService,
} from "@aws-sdk/client-sagemaker";
import { SageMakerRuntimeClient } from "@aws-sdk/client-sagemaker-runtime";

export const [name, ...archives] = process.argv.slice(2);
export const s3 = new S3Client();
export const sagemaker = new SageMakerClient();
export const runtime = new SageMakerRuntimeClient();
export const role = "arn:aws:iam::123456789012:role/test";
export const image = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/small:latest";
export const instance = { InstanceType: "ml.m5.xlarge", InitialInstanceCount: 1 };
// The waiters' own pauses are 30 s and more.
export const waiter = { client: sagemaker, minDelay: 1, maxDelay: 2, maxWaitTime: 120 };

export async function upload() {
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  for (const path of archives) {
    const object = { Bucket: name, Key: `models/${basename(path)}`, Body: await readFile(path) };
    await s3.send(new PutObjectCommand(object));
  }
}

export async function createModel(modelName, containers, members = {}) {
  const what = containers.length > 1 ? { Containers: containers } : { PrimaryContainer: containers[0] };
  await sagemaker.send(new CreateModelCommand({ ModelName: modelName, ExecutionRoleArn: role, ...what, ...members }));
}

export async function createConfig(configName, modelName, members = {}, capacity = instance) {
  const variants = [{ VariantName: "AllTraffic", ModelName: modelName, ...capacity }];
  const config = { EndpointConfigName: configName, ProductionVariants: variants, ...members };
  await sagemaker.send(new CreateEndpointConfigCommand(config));
}

export async function inService(endpoint) {
  const { state } = await waitUntilEndpointInService(waiter, { EndpointName: endpoint });
  assert.equal(state, "SUCCESS");
}

// Create the endpoint, with a model and a configuration of the same name; `members` are the configuration's, `ofModel` the model's.
export async function deploy(containers, members = {}, capacity = instance, ofModel = {}) {
  await createModel(name, containers, ofModel);
  await createConfig(name, name, members, capacity);
  await sagemaker.send(new CreateEndpointCommand({ EndpointName: name, EndpointConfigName: name }));
  await inService(name);
}

export async function remove() {
  await sagemaker.send(new DeleteEndpointCommand({ EndpointName: name }));
  await waitUntilEndpointDeleted(waiter, { EndpointName: name });
  await sagemaker.send(new DeleteEndpointConfigCommand({ EndpointConfigName: name }));
  await sagemaker.send(new DeleteModelCommand({ ModelName: name }));
}

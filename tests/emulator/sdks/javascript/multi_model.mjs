// Many models behind one endpoint.
import assert from "node:assert/strict";
import { InvokeEndpointCommand, ValidationError } from "@aws-sdk/client-sagemaker-runtime";
import { deploy, image, name, remove, runtime, upload } from "./common.mjs";

async function invoke(model) {
  const request = { EndpointName: name, TargetModel: `${model}.tar.gz`, Body: "?" };
  const { Body } = await runtime.send(new InvokeEndpointCommand(request));
  return JSON.parse(Body.transformToString()).name;
}

await upload();
await deploy([{ Image: image, Mode: "MultiModel", ModelDataUrl: `s3://${name}/models/` }]);
assert.deepEqual([await invoke("one"), await invoke("two"), await invoke("one")], ["one", "two", "one"]);
await assert.rejects(invoke("three"), ValidationError);
await remove();

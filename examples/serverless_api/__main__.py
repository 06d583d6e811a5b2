"""A model behind an HTTP API with keys, without servers: Lambda, API Gateway, and an archive in S3.

A classifier of digits is packed and uploaded as for a SageMaker endpoint: `examples.serverless_endpoint` serves the
same archive there. Here a function runs polyhost and serves every archive of the prefix, and a REST API with a usage
plan calls it for those who have a key. Whoever has none gets 403. Offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.serverless_api

On AWS: credentials, a region, `--role ARN` of a role that may read the bucket, and `--package FILE`, the function's
zip (docs/lambda.md says what fits into one). The emulator's functions have its own packages.

README.md beside this module deploys the same by the SAM CLI.
"""

import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.exceptions import ClientError

from examples.account import Account, argument_parser
from examples.serverless_endpoint import train

NAME = "digits-api"
PREFIX = f"{NAME}-models"
STAGE = "Prod"
APP = (
    "from polyhost.container.lambda_function.function import Function\n\n"  # deploy/lambda/app.py
    "handler = Function.start()\n"
)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
WAIT_S = 300.0


class ServerlessApi:
    """The function and the API in front of it. All of it is deleted when `resources` are closed, the newest first."""

    def __init__(self, account: Account, resources: ExitStack) -> None:
        self._account = account
        self._resources = resources
        self._lambda = boto3.client("lambda")
        self._gateway = boto3.client("apigateway")
        self._api = ""

    def create_function(self, package: bytes, role: str) -> str:
        """Create the function for all archives below the prefix; return its ARN."""
        variables = {
            "POLYHOST_MODEL_STORE": f"s3://{self._account.bucket}/{PREFIX}/",
            "POLYHOST_ZYGOTES": "sklearn",  # the framework to import while the environment starts
        }
        created = self._lambda.create_function(
            FunctionName=NAME,
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": package},
            MemorySize=1024,
            Timeout=60,
            Environment={"Variables": variables},
        )
        self._resources.callback(self._lambda.delete_function, FunctionName=NAME)
        self._lambda.get_waiter("function_active_v2").wait(FunctionName=NAME)
        return str(created["FunctionArn"])

    def create_api(self, function: str) -> str:
        """Create `POST /models/{model}` for those with a key, and return the stage's address."""
        region, id_ = self._account.region, self._account.id
        uri = f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{function}/invocations"
        operation = {
            "security": [{"api_key": []}],
            "responses": {},
            "x-amazon-apigateway-integration": {"type": "aws_proxy", "httpMethod": "POST", "uri": uri},
        }
        document = {
            "swagger": "2.0",
            "info": {"title": NAME, "version": "1"},
            "paths": {"/models/{model+}": {"post": operation}},
            "securityDefinitions": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
        }
        api = self._api = self._gateway.import_rest_api(body=json.dumps(document).encode())["id"]
        self._resources.callback(self._gateway.delete_rest_api, restApiId=api)
        self._lambda.add_permission(
            FunctionName=NAME,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{region}:{id_}:{api}/*",
        )
        self._gateway.create_deployment(restApiId=api, stageName=STAGE)
        endpoint = self._gateway.meta.endpoint_url
        if "amazonaws.com" in endpoint:
            return f"https://{api}.execute-api.{region}.amazonaws.com/{STAGE}"
        return f"{endpoint}/restapis/{api}/{STAGE}/_user_request_"  # the emulator's

    def create_key(self) -> str:
        """Create a usage plan for the API, and return the value of a key that belongs to it."""
        plan = self._gateway.create_usage_plan(name=NAME, apiStages=[{"apiId": self._api, "stage": STAGE}])["id"]
        self._resources.callback(self._delete_plan, plan)
        key = self._gateway.create_api_key(name=NAME, enabled=True)
        self._resources.callback(self._gateway.delete_api_key, apiKey=key["id"])
        self._gateway.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
        return str(key["value"])

    def _delete_plan(self, plan: str) -> None:
        """Take the stage out of the plan first: a plan with stages cannot be deleted."""
        stage = {"op": "remove", "path": "/apiStages", "value": f"{self._api}:{STAGE}"}
        self._gateway.update_usage_plan(usagePlanId=plan, patchOperations=[stage])
        self._gateway.delete_usage_plan(usagePlanId=plan)


def role_of(account: Account, resources: ExitStack, given: str | None) -> str:
    """Return the role that was given, or a new one; on AWS that one could not read the bucket."""
    if given:
        return given
    iam = boto3.client("iam")
    role: str = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    resources.callback(iam.delete_role, RoleName=NAME)
    return role


def app_alone() -> bytes:
    """Return a zip for the emulator, whose functions find the packages beside it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("app.py", APP)
    return content.getvalue()


def call(address: str, rows: Any, key: str | None) -> httpx.Response:
    headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
    return httpx.post(f"{address}/models/{NAME}.tar.gz", json=rows.tolist(), headers=headers, timeout=WAIT_S)


def timed_call(address: str, rows: Any, key: str, what: str) -> Any:
    """Print how long a call takes, and return the response.

    A new key is not known everywhere at once (403), and a cold start may outlast what API Gateway waits for (504).
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        start = time.perf_counter()
        response = call(address, rows, key)
        if response.status_code not in (403, 504) or time.monotonic() > deadline:
            break
        time.sleep(1)
    if response.is_error:
        sys.exit(f"{response.status_code}: {response.text}")
    print(f"{what}: {time.perf_counter() - start:.2f} s")
    return response.json()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argument_parser("serverless_api", __doc__)
    parser.add_argument("--package", type=Path, help="the function's zip (default: app.py alone, for the emulator)")
    options = parser.parse_args(arguments)
    account = Account(options.image, options.role)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, ExitStack() as resources:
        unseen, expected = train(Path(folder) / NAME)
        account.upload_archive(Path(folder) / NAME, PREFIX)
        api = ServerlessApi(account, resources)
        try:
            package = options.package.read_bytes() if options.package else app_alone()
            address = api.create_api(api.create_function(package, role_of(account, resources, options.role)))
            key = api.create_key()
        except ClientError as error:
            sys.exit(str(error))
        print(f"a call without a key: {call(address, unseen[:1], None).status_code}")
        timed_call(address, unseen[:1], key, "the first call, a cold start")
        classes = timed_call(address, unseen, key, "the second call, of the same environment")
    right = sum(one == other for one, other in zip(classes, expected.tolist(), strict=True))
    print(f"{right} of {len(expected)} digits recognised")
    return 0


if __name__ == "__main__":
    sys.exit(main())

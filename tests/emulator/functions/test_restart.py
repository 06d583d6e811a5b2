"""Functions and APIs are there after SIGKILL and a start with the same --state."""

import json
from pathlib import Path

import httpx
import pytest

from tests.emulator.functions.harness import ClientsOf, Lambda, function_zip
from tests.emulator.gateway.harness import Gateway, proxy
from tests.emulator.moto_services.state.conftest import durable

SOURCE = """
    import layered

    def handler(event, context):
        return {"statusCode": 200, "body": layered.TEXT + context.function_version}
"""


@pytest.mark.slow
def test_functions_and_apis_survive_a_kill(tmp_path: Path) -> None:
    with durable(tmp_path / "state") as first, httpx.Client(timeout=120.0, trust_env=False) as http:
        functions = Lambda(ClientsOf(first.emulator.url))
        gateway = Gateway(functions, http)
        module = function_zip(**{"python/layered": "TEXT = 'version '\n"})
        layer = functions.client.publish_layer_version(LayerName="texts", Content={"ZipFile": module})
        arn = functions.create("kept", SOURCE, Layers=[layer["LayerVersionArn"]])["FunctionArn"]
        functions.create("deleted", SOURCE)
        functions.client.publish_version(FunctionName="kept")
        functions.client.create_alias(FunctionName="kept", Name="live", FunctionVersion="1")
        functions.client.delete_function(FunctionName="deleted")
        api = gateway.api("kept", {"/run": {"get": proxy(f"{arn}:live", with_key=True)}})
        key = gateway.key(api, "kept")
        http_api = gateway.http_api("kept", f"{arn}:live", "GET /run")
        gateway.http_apis.create_stage(ApiId=http_api, StageName="prod")
        gateway.http_apis.create_deployment(ApiId=http_api, StageName="prod")
        queue = first.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
        wanted = first.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        functions.client.create_event_source_mapping(
            FunctionName="kept", EventSourceArn=wanted["Attributes"]["QueueArn"], Enabled=False
        )
        for address in (f"/restapis/{api}/Prod/_user_request_/", f"/restapis/{http_api}/_user_request_/"):
            assert f"answers at {first.emulator.url}{address}" in first.log
        first.kill()
    with durable(tmp_path / "state") as second, httpx.Client(timeout=120.0, trust_env=False) as http:
        functions = Lambda(ClientsOf(second.emulator.url))
        gateway = Gateway(functions, http)
        assert [item["FunctionName"] for item in functions.client.list_functions()["Functions"]] == ["kept"]
        assert functions.returned("kept")["body"] == "version $LATEST"
        assert gateway.call(api, "/run").status_code == 403
        response = gateway.call(api, "/run", headers={"x-api-key": key})
        assert (response.status_code, response.text) == (200, "version 1"), second.log
        deployed = f"{functions.emulator.url}/restapis/{http_api}/prod/_user_request_/run"
        assert gateway.call_http(http_api, "/run").text == http.get(deployed).text == "version 1"
        (mapping,) = functions.client.list_event_source_mappings(FunctionName="kept")["EventSourceMappings"]
        assert mapping["State"] == "Disabled"
        functions.client.update_function_configuration(FunctionName="kept", Timeout=7)
        assert functions.client.get_function_configuration(FunctionName="kept")["Timeout"] == 7
        assert json.loads(functions.client.invoke(FunctionName=f"{arn}:1")["Payload"].read())["body"] == "version 1"

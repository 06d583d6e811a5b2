"""The control plane with real containers of a small make; every response is checked against botocore's shapes."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import botocore.session
import pytest
from botocore.parsers import create_parser

from polyhost.emulator.api.control import Control
from polyhost.emulator.api.store import Resource, Resources
from polyhost.emulator.errors import (
    ContainerGone,
    ServiceUnavailable,
    StartError,
    UnknownOperation,
    ValidationException,
)
from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.downloads import ModelSource
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.instance import Platform
from polyhost.emulator.hosting.interfaces import Call
from polyhost.emulator.telemetry.recorder import Recorder
from tests.emulator import small_container
from tests.emulator.archives import archive

SHAPES = botocore.session.get_session().get_service_model("sagemaker")
REGION = "eu-west-1"
ARN = f"arn:aws:sagemaker:{REGION}:123456789012"
COMMAND = (sys.executable, small_container.__file__)


class Desk:
    """A control plane with its platform."""

    def __init__(self, control, models, platform):
        self.control = control
        self.models = models
        self.platform = platform

    async def ask(self, operation, patient=False, region=REGION, **members):
        """As botocore sends and parses it; what AWS would not give is an error."""
        body = await self.control.call(region, operation, json.dumps(members).encode(), patient)
        shape = SHAPES.operation_model(operation).output_shape
        if shape is None:
            assert json.loads(body) == {}
            return {}
        fits(shape, json.loads(body))
        parsed = create_parser("json").parse({"body": body, "headers": {}, "status_code": 200}, shape)
        return {name: value for name, value in parsed.items() if name != "ResponseMetadata"}

    async def refused(self, operation, **members):
        with pytest.raises(ValidationException) as caught:
            await self.ask(operation, **members)
        return caught.value.message

    async def create_model(self, name="m", mode="MultiModel", url=None, **environment):
        url = url or f"file://{self.models}/"
        container = {"Image": "image", "Mode": mode, "ModelDataUrl": url, "Environment": environment}
        return await self.ask("CreateModel", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role())

    async def create_config(self, name="c", *variants):
        return await self.ask(
            "CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[*variants] or [variant()]
        )

    async def create_endpoint(self, name="e", config="c"):
        await self.ask("CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        return await self.settled(name)

    async def settled(self, name="e"):
        """What a waiter sees in the end; its looks wait, so that few are needed."""
        for _ in range(5):
            seen = await self.ask("DescribeEndpoint", patient=True, EndpointName=name)
            if seen["EndpointStatus"] in ("InService", "Failed"):
                return seen
        raise AssertionError(f"still {seen}")

    async def gone(self, name="e"):
        while self.control.endpoint(REGION, name) is not None:
            try:
                await self.ask("DescribeEndpoint", patient=True, EndpointName=name)
            except ValidationException:
                return

    async def invoke(self, model="a.tar.gz", name="e", target=None):
        chosen = self.control.endpoint(REGION, name).choose(target)
        answer = await chosen.fleet.invoke(Call(b"{}", {"Content-Type": "application/json"}, model))
        assert answer.status == 200, answer
        return json.loads(answer.body)


def fits(shape, value):
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members), (shape.name, value)
        assert set(shape.required_members) <= set(value), (shape.name, value)
        for name, item in value.items():
            fits(shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            fits(shape.member, item)
    elif shape.type_name == "string" and shape.enum:
        assert value in shape.enum


def role():
    return "arn:aws:iam::123456789012:role/hosting"


def variant(name="AllTraffic", model="m", count=1, **members):
    return {
        "VariantName": name,
        "ModelName": model,
        "InitialInstanceCount": count,
        "InstanceType": "ml.t2.medium",
        **members,
    }


@asynccontextmanager
async def desk(folder: Path, state=None):
    models, disk = folder / "models", folder / "disk"
    models.mkdir(exist_ok=True)
    disk.mkdir(exist_ok=True)
    (models / "a.tar.gz").write_bytes(archive("a"))
    (models / "slow.tar.gz").write_bytes(archive("slow", invoke_seconds=0.4))
    source = ModelSource(lambda region: pytest.fail(f"nothing is in S3 of {region}"))
    async with session() as http:
        platform = Platform(ProcessDriver(COMMAND), source, Recorder(), Faults(), http, disk)
        control = Control(platform, state)
        await control.open()
        try:
            yield Desk(control, models, platform)
        finally:
            await control.close()
    assert list(disk.iterdir()) == [], "an instance left its disk behind"


def run(folder, steps, state=None):
    async def whole():
        async with desk(folder, state) as opened:
            await steps(opened)

    asyncio.run(whole())


# Models


def test_a_models_life(tmp_path):
    async def steps(desk):
        assert await desk.create_model("My-Model") == {"ModelArn": f"{ARN}:model/my-model"}
        seen = await desk.ask("DescribeModel", ModelName="My-Model")
        assert seen["PrimaryContainer"]["Mode"] == "MultiModel"
        assert seen["EnableNetworkIsolation"] is False
        assert seen["ExecutionRoleArn"] == role()
        assert "Tags" not in seen
        await desk.ask("DeleteModel", ModelName="My-Model")
        message = f'Could not find model "{ARN}:model/my-model".'
        assert await desk.refused("DescribeModel", ModelName="My-Model") == message
        assert await desk.refused("DeleteModel", ModelName="My-Model") == message

    run(tmp_path, steps)


def test_a_name_is_taken_once_whatever_its_case(tmp_path):
    async def steps(desk):
        await desk.create_model("m")
        await desk.create_config("c")
        with pytest.raises(ValidationException) as caught:
            await desk.create_model("M")
        assert caught.value.message == f'Cannot create already existing model "{ARN}:model/m".'
        with pytest.raises(ValidationException) as caught:
            await desk.create_config("c")
        assert caught.value.message == (
            f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/c".'
        )

    run(tmp_path, steps)


def test_regions_do_not_see_one_another(tmp_path):
    async def steps(desk):
        await desk.create_model()
        assert (await desk.ask("ListModels", region="us-west-2"))["Models"] == []

    run(tmp_path, steps)


@pytest.mark.parametrize(
    ("container", "says"),
    [
        ({"Mode": "MultiModel"}, "no Image"),
        ({"Image": "i", "Mode": "MultiModel"}, "needs ModelDataUrl"),
        ({"Image": "i", "ModelDataUrl": "https://example.org/models/"}, "no address of model data"),
        (None, "got 0"),
    ],
)
def test_models_that_cannot_be_hosted(tmp_path, container, says):
    async def steps(desk):
        given = {"PrimaryContainer": container} if container else {}
        assert says in await desk.refused("CreateModel", ModelName="m", **given)

    run(tmp_path, steps)


# Endpoint configurations


def test_a_configurations_life(tmp_path):
    async def steps(desk):
        await desk.create_model()
        assert await desk.create_config("C") == {"EndpointConfigArn": f"{ARN}:endpoint-config/c"}
        seen = await desk.ask("DescribeEndpointConfig", EndpointConfigName="C")
        assert seen["EndpointConfigName"] == "C"
        assert seen["ProductionVariants"] == [variant(InitialVariantWeight=1.0)]
        await desk.ask("DeleteEndpointConfig", EndpointConfigName="C")
        message = f'Could not find endpoint configuration "{ARN}:endpoint-config/c".'
        assert await desk.refused("DescribeEndpointConfig", EndpointConfigName="C") == message
        assert await desk.refused("CreateEndpoint", EndpointName="e", EndpointConfigName="C") == message

    run(tmp_path, steps)


def test_configurations_that_cannot_be(tmp_path):
    async def steps(desk):
        async def refusal(*variants, **members):
            return await desk.refused(
                "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[*variants], **members
            )

        await desk.create_model()
        assert await refusal(variant(model="none")) == f'Could not find model "{ARN}:model/none".'
        assert "unique" in await refusal(variant(), variant())
        message = await refusal(variant(), variant("b", InstanceType="ml.p5.48xlarge"))
        assert message.startswith("Variant b: the emulator does not know the memory of ml.p5.48xlarge; it knows the")
        serverless = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": 1024}}
        serverless["ServerlessConfig"]["MaxConcurrency"] = 1
        assert "instances only" in await refusal(serverless)
        assert "AsyncInferenceConfig" in await refusal(
            variant(), AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://b/p"}}
        )

    run(tmp_path, steps)


# Endpoints


def test_an_endpoints_life(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config("c", variant(count=2))
        made = await desk.ask("CreateEndpoint", EndpointName="E", EndpointConfigName="c")
        assert made == {"EndpointArn": f"{ARN}:endpoint/e"}
        first = await desk.ask("DescribeEndpoint", EndpointName="E")
        assert first["EndpointStatus"] == "Creating"
        assert first["ProductionVariants"][0]["CurrentInstanceCount"] == 0
        for operation, more in (("DeleteEndpoint", {}), ("UpdateEndpoint", {"EndpointConfigName": "c"})):
            message = await desk.refused(operation, EndpointName="E", **more)
            assert message == f'Cannot update in-progress endpoint "{ARN}:endpoint/e".'
        exists = f'Cannot create already existing endpoint "{ARN}:endpoint/e".'
        assert await desk.refused("CreateEndpoint", EndpointName="E", EndpointConfigName="c") == exists

        seen = await desk.settled("E")
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
        assert "FailureReason" not in seen
        [about] = seen["ProductionVariants"]
        assert (about["CurrentInstanceCount"], about["DesiredInstanceCount"], about["CurrentWeight"]) == (2, 2, 1.0)
        assert about["DeployedImages"][0]["SpecifiedImage"] == "image"
        assert seen["LastModifiedTime"] > seen["CreationTime"]
        assert (await desk.invoke(name="E"))["name"] == "a"

        assert await desk.ask("DeleteEndpoint", EndpointName="E") == {}
        assert (await desk.ask("DescribeEndpoint", EndpointName="E"))["EndpointStatus"] == "Deleting"
        await desk.gone("E")
        missing = f'Could not find endpoint "{ARN}:endpoint/e".'
        assert await desk.refused("DescribeEndpoint", EndpointName="E") == missing
        assert await desk.refused("DeleteEndpoint", EndpointName="E") == missing

    run(tmp_path, steps)


def test_a_single_model(tmp_path):
    async def steps(desk):
        await desk.create_model(mode="SingleModel", url=f"file://{desk.models}/a.tar.gz")
        await desk.create_config()
        assert (await desk.create_endpoint())["EndpointStatus"] == "InService"
        assert (await desk.invoke(None))["name"] == "a"

    run(tmp_path, steps)


def test_container_that_ends(tmp_path):
    async def steps(desk):
        await desk.create_model(SMALL_EXIT="3")
        await desk.create_config()
        seen = await desk.create_endpoint()
        assert seen["EndpointStatus"] == "Failed"
        assert seen["FailureReason"].startswith(
            "The primary container for production variant AllTraffic did not pass the ping health check."
            " Please check CloudWatch logs for this endpoint."
        )
        assert "it cannot go on" in seen["FailureReason"]
        again = await desk.refused("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
        assert "failed endpoint" in again
        await desk.ask("DeleteEndpoint", EndpointName="e")
        await desk.gone()

    run(tmp_path, steps)


def test_model_data_that_is_not_there(tmp_path):
    async def steps(desk):
        url = f"file://{desk.models}/none.tar.gz"
        await desk.create_model(mode="SingleModel", url=url)
        await desk.create_config()
        seen = await desk.create_endpoint()
        assert seen["EndpointStatus"] == "Failed"
        assert seen["FailureReason"].startswith(
            f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure that there is'
            " an object located at the URL and that the role passed to CreateModel has permissions to download the"
            " object."
        )

    run(tmp_path, steps)


def test_no_room_on_the_machine(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config()
        desk.platform.folder.rmdir()
        desk.platform.folder.write_text("a file where the disks should be")
        seen = await desk.create_endpoint()
        desk.platform.folder.unlink()
        desk.platform.folder.mkdir()
        assert seen["EndpointStatus"] == "Failed"
        assert seen["FailureReason"].startswith(
            "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error"
        )

    run(tmp_path, steps)


def test_variants_share_by_weight(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config(
            "c", variant("one", InitialVariantWeight=3), variant("none", InitialVariantWeight=0), variant("two")
        )
        await desk.create_endpoint()
        endpoint = desk.control.endpoint(REGION, "e")
        chosen = [endpoint.choose(None).name for _ in range(2000)]
        assert 1350 < chosen.count("one") < 1650
        assert chosen.count("none") == 0
        assert endpoint.choose("none").name == "none"
        assert (await desk.invoke(target="two"))["name"] == "a"

    run(tmp_path, steps)


# Updates


def test_update_fails_no_request(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config()
        await desk.create_config("new", variant(count=2))
        await desk.create_endpoint()
        before = (await desk.invoke())["pid"]
        pids, done = set(), asyncio.Event()

        async def load():
            while not done.is_set():
                pids.add((await desk.invoke("slow.tar.gz"))["pid"])

        callers = [asyncio.create_task(load()) for _ in range(4)]
        await desk.ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="new")
        seen = await desk.ask("DescribeEndpoint", EndpointName="e")
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("Updating", "c")
        assert seen["PendingDeploymentSummary"]["EndpointConfigName"] == "new"
        seen = await desk.settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "new")
        assert "PendingDeploymentSummary" not in seen
        assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 2
        await desk.invoke()
        done.set()
        await asyncio.gather(*callers)
        assert before in pids
        assert (await desk.invoke())["pid"] != before

    run(tmp_path, steps)


def test_failed_update_leaves_what_was(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_model("bad", SMALL_EXIT="1")
        await desk.create_config()
        await desk.create_config("bad", variant(model="bad"))
        await desk.create_endpoint()
        before = (await desk.invoke())["pid"]
        await desk.ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="bad")
        seen = await desk.settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
        assert "did not pass the ping health check" in seen["FailureReason"]
        assert (await desk.invoke())["pid"] == before
        await desk.ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
        assert "FailureReason" not in await desk.settled()

    run(tmp_path, steps)


def test_weights_and_capacities(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config("c", variant("a"), variant("b", count=2))
        await desk.create_config("next", variant("a", count=1), variant("b", count=1))
        await desk.create_endpoint()
        wanted = [
            {"VariantName": "a", "DesiredWeight": 0.5, "DesiredInstanceCount": 2},
            {"VariantName": "b", "DesiredInstanceCount": 1},
        ]
        made = await desk.ask(
            "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted
        )
        assert made == {"EndpointArn": f"{ARN}:endpoint/e"}
        assert (await desk.ask("DescribeEndpoint", EndpointName="e"))["EndpointStatus"] == "Updating"
        assert figures(await desk.settled()) == {"a": (0.5, 0.5, 2, 2), "b": (1.0, 1.0, 1, 1)}

        async def refusal(**item):
            return await desk.refused(
                "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=[item]
            )

        assert 'variant name(s) "c" is/are not present' in await refusal(VariantName="c", DesiredWeight=1)
        assert "at least 1" in await refusal(VariantName="a", DesiredInstanceCount=0)

        update = {"EndpointName": "e", "EndpointConfigName": "next", "RetainAllVariantProperties": True}
        excluded = [{"VariantPropertyType": "DesiredWeight"}]
        await desk.ask("UpdateEndpoint", **update, ExcludeRetainedVariantProperties=excluded)
        assert figures(await desk.settled()) == {"a": (1.0, 1.0, 2, 2), "b": (1.0, 1.0, 1, 1)}

    run(tmp_path, steps)


def figures(seen):
    return {
        about["VariantName"]: (
            about["CurrentWeight"],
            about["DesiredWeight"],
            about["CurrentInstanceCount"],
            about["DesiredInstanceCount"],
        )
        for about in seen["ProductionVariants"]
    }


# Lists


def test_lists_are_filtered_sorted_and_cut(tmp_path):
    async def steps(desk):
        for name in ("b1", "a1", "b2", "a2", "c1"):
            await desk.create_model(name)

        async def names(**members):
            return [model["ModelName"] for model in (await desk.ask("ListModels", **members))["Models"]]

        assert await names() == ["c1", "a2", "b2", "a1", "b1"]
        assert await names(SortOrder="Ascending") == ["b1", "a1", "b2", "a2", "c1"]
        assert await names(SortBy="Name") == ["c1", "b2", "b1", "a2", "a1"]
        assert await names(NameContains="1", SortBy="Name", SortOrder="Ascending") == ["a1", "b1", "c1"]
        middle = (await desk.ask("DescribeModel", ModelName="b2"))["CreationTime"].timestamp()
        assert await names(CreationTimeAfter=middle - 1e-5, CreationTimeBefore=middle + 1e-5) == ["b2"]

        pages, token = [], {}
        while True:
            answer = await desk.ask("ListModels", SortBy="Name", MaxResults=2, **token)
            pages.append([model["ModelName"] for model in answer["Models"]])
            if "NextToken" not in answer:
                break
            token = {"NextToken": answer["NextToken"]}
            if len(pages) == 1:
                await desk.ask("DeleteModel", ModelName="b2")  # the last of the page before: none is left out
        assert pages == [["c1", "b2"], ["b1", "a2"], ["a1"]]
        for bad in ("nonsense", "é", "W10="):
            assert "NextToken" in await desk.refused("ListModels", NextToken=bad)

    run(tmp_path, steps)


def test_lists_of_configurations_and_endpoints(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_model("bad", SMALL_EXIT="1")
        await desk.create_config()
        await desk.create_config("bad", variant(model="bad"))
        configs = (await desk.ask("ListEndpointConfigs", SortBy="Name"))["EndpointConfigs"]
        assert [config["EndpointConfigName"] for config in configs] == ["c", "bad"]
        await desk.create_endpoint("good")
        await desk.create_endpoint("failed", "bad")

        async def names(**members):
            return [item["EndpointName"] for item in (await desk.ask("ListEndpoints", **members))["Endpoints"]]

        assert await names() == ["failed", "good"]
        assert await names(StatusEquals="Failed") == ["failed"]
        assert await names(SortBy="Status", SortOrder="Ascending") == ["failed", "good"]
        assert await names(LastModifiedTimeBefore=1) == []

    run(tmp_path, steps)


# Tags


def test_tags(tmp_path):
    async def steps(desk):
        await desk.create_model()
        arn = (
            await desk.ask(
                "CreateEndpointConfig",
                EndpointConfigName="c",
                ProductionVariants=[variant()],
                Tags=[{"Key": "team", "Value": "a"}],
            )
        )["EndpointConfigArn"]
        added = await desk.ask(
            "AddTags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "k", "Value": ""}]
        )
        assert added == {"Tags": [{"Key": "team", "Value": "b"}, {"Key": "k", "Value": ""}]}
        assert await desk.ask("DeleteTags", ResourceArn=arn, TagKeys=["k", "unknown"]) == {}
        assert await desk.ask("ListTags", ResourceArn=arn) == {"Tags": [{"Key": "team", "Value": "b"}]}
        missing = f"{ARN}:endpoint/none"
        assert await desk.refused("ListTags", ResourceArn=missing) == f'Could not find endpoint "{missing}".'

    run(tmp_path, steps)


# Operations


def test_operations_that_are_not_there(tmp_path):
    async def steps(desk):
        with pytest.raises(UnknownOperation, match="MakeCoffee"):
            await desk.control.call(REGION, "MakeCoffee", b"{}")
        with pytest.raises(UnknownOperation, match="does not have the operation ListTrainingJobs; it has AddTags"):
            await desk.control.call(REGION, "ListTrainingJobs", b"{}")

    run(tmp_path, steps)


# State


def test_state_outlives_the_emulator(tmp_path):
    state = tmp_path / "state"

    async def before(desk):
        await desk.create_model()
        await desk.create_model("bad", SMALL_EXIT="1")
        await desk.create_config()
        await desk.create_config("bad", variant(model="bad"))
        await desk.create_endpoint()
        await desk.create_endpoint("failed", "bad")
        wanted = [{"VariantName": "AllTraffic", "DesiredWeight": 2, "DesiredInstanceCount": 2}]
        await desk.ask("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted)
        await desk.settled()
        await desk.ask("DeleteEndpointConfig", EndpointConfigName="c")
        await desk.ask("DeleteModel", ModelName="m")
        await desk.create_endpoint("leaving", "bad")
        await desk.ask("DeleteEndpoint", EndpointName="leaving")
        await desk.ask("UpdateEndpoint", EndpointName="e", EndpointConfigName="bad")  # does not come to its end

    async def after(desk):
        seen = await desk.settled()
        assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "c")
        assert figures(seen) == {"AllTraffic": (2.0, 2.0, 2, 2)}
        assert (await desk.invoke())["name"] == "a"
        failed = await desk.settled("failed")
        assert failed["EndpointStatus"] == "Failed"
        assert "ping health check" in failed["FailureReason"]
        assert await desk.refused("DescribeEndpoint", EndpointName="leaving")
        models = (await desk.ask("ListModels"))["Models"]
        assert [model["ModelName"] for model in models] == ["bad"]

    run(tmp_path, before, state)
    run(tmp_path, after, state)


def test_close_waits_for_no_call(tmp_path):
    async def steps(desk):
        (desk.models / "stuck.tar.gz").write_bytes(archive("stuck", invoke_seconds=50))
        await desk.create_model()
        await desk.create_config()
        await desk.create_endpoint()
        stuck = asyncio.create_task(desk.invoke("stuck.tar.gz"))
        while not any(
            instance.outstanding for instance in desk.control.endpoint(REGION, "e").variants[0].fleet.instances
        ):
            await asyncio.sleep(0.01)
        await desk.ask("DeleteEndpoint", EndpointName="e")
        async with asyncio.timeout(10):
            await desk.control.close()
            with pytest.raises(ContainerGone):
                await stuck

    run(tmp_path, steps)


def test_close_in_the_middle_of_a_start(tmp_path):
    state = tmp_path / "state"

    async def steps(desk):
        await desk.create_model()
        await desk.create_model("unwell", SMALL_PING="500")
        await desk.create_config("c", variant("well"), variant("unwell", "unwell"))
        await desk.ask("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
        while not any(event.message == "in service" for event in desk.platform.recorder.events):
            await asyncio.sleep(0.01)

    async def after(desk):
        assert (await desk.ask("DescribeEndpoint", EndpointName="e"))["EndpointStatus"] == "Creating"

    run(tmp_path, steps, state)
    run(tmp_path, after, state)


def test_state_that_cannot_be_read(tmp_path):
    (tmp_path / "resources.json").write_text("{")
    with pytest.raises(StartError, match=r"resources.json cannot be read .* choose another --state"):
        Resources(tmp_path)


def test_an_endpoint_that_cannot_be_read(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config()
        await desk.create_endpoint()

    run(tmp_path, steps, tmp_path)
    saved = json.loads((tmp_path / "resources.json").read_text())
    (endpoint,) = (item for item in saved["resources"] if item["kind"] == "endpoint")
    del endpoint["changes"]["Variants"][0]["container"]["image"]
    (tmp_path / "resources.json").write_text(json.dumps(saved))
    with pytest.raises(StartError, match=r"endpoint e in the state cannot be read .*image.* choose another --state"):
        run(tmp_path, steps, tmp_path)


def test_nothing_begins_while_the_emulator_ends(tmp_path):
    async def steps(desk):
        await desk.create_model()
        await desk.create_config()
        closing = asyncio.create_task(desk.control.close())
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailable, match="about to end"):
            await desk.create_endpoint()
        await closing
        assert desk.control.endpoints() == []

    run(tmp_path, steps)


def test_state_that_cannot_be_saved(tmp_path, caplog):
    resources = Resources(tmp_path)
    (tmp_path / "resources.json").mkdir()
    resources.put(Resource("model", REGION, "m", {}, 1.0, 1.0))
    assert resources.get(REGION, "model", "m") is not None
    assert "the state cannot be saved" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["resources.json"]

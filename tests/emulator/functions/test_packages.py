"""What is a zip and what is an image: Lambda's checks, and image functions in an emulator that runs no images."""

import pytest
from botocore.exceptions import ClientError

from tests.emulator.functions.harness import ROLE, Lambda, function_zip

URI = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/classify:1"
CODE = {"ImageUri": URI}
ZIP = {"ZipFile": function_zip(app="def handler(event, context):\n    return 1\n")}
IMAGE_ONLY = "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."


def create_image(functions: Lambda, name: str, **members: object) -> None:
    functions.client.create_function(
        **{"FunctionName": name, "PackageType": "Image", "Code": CODE, "Role": ROLE, **members}
    )


def message(info: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    error = info.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Handler": "app.handler"}, IMAGE_ONLY),
        ({"Runtime": "python3.11"}, IMAGE_ONLY),
        ({"Code": ZIP}, "Please provide a source for function code."),
        (
            {"PackageType": "Zip"},
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
    ],
)
def test_what_is_neither_a_zip_nor_an_image_is_rejected(
    functions: Lambda, name: str, members: dict[str, object], words: str
) -> None:
    with pytest.raises(ClientError) as info:
        create_image(functions, name, **members)
    assert message(info) == ("InvalidParameterValueException", words)
    with pytest.raises(ClientError, match="Function not found"):
        functions.client.get_function(FunctionName=name)


def test_an_images_settings_are_kept_and_changed(functions: Lambda, name: str) -> None:
    create_image(functions, name, ImageConfig={"Command": ["app.one"], "WorkingDirectory": "/var/task"})
    functions.client.publish_version(FunctionName=name)
    found = functions.client.get_function(FunctionName=name)
    assert (found["Code"]["ImageUri"], found["Configuration"]["PackageType"]) == (URI, "Image")
    functions.client.update_function_configuration(FunctionName=name, ImageConfig={"Command": ["app.two"]})
    functions.client.update_function_code(FunctionName=name, ImageUri=f"{URI}.1")
    for qualifier, uri, config in (
        ("1", URI, {"EntryPoint": [], "Command": ["app.one"], "WorkingDirectory": "/var/task"}),
        ("$LATEST", f"{URI}.1", {"EntryPoint": [], "Command": ["app.two"]}),
    ):
        found = functions.client.get_function(FunctionName=name, Qualifier=qualifier)
        assert found["Code"]["ImageUri"] == uri
        assert found["Configuration"]["ImageConfigResponse"]["ImageConfig"] == config


def test_changes_must_be_of_the_functions_package(functions: Lambda, name: str) -> None:
    create_image(functions, name)
    zipped = f"{name}-zip"
    functions.create(zipped, "def handler(event, context):\n    return 1\n")
    update_code, update = functions.client.update_function_code, functions.client.update_function_configuration
    with pytest.raises(ClientError, match=r"Please provide ImageUri when updating a function with packageType Image\."):
        update_code(FunctionName=name, ZipFile=ZIP["ZipFile"])
    with pytest.raises(
        ClientError, match=r"Please don't provide ImageUri when updating a function with packageType Zip"
    ):
        update_code(FunctionName=zipped, ImageUri=URI)
    with pytest.raises(ClientError, match=IMAGE_ONLY):
        update(FunctionName=name, Handler="app.other")
    assert functions.returned(zipped) == 1


def test_a_call_names_the_driver_that_runs_images(functions: Lambda, name: str) -> None:
    create_image(functions, name)
    with pytest.raises(ClientError) as info:
        functions.invoke(name)
    code, words = message(info)
    assert code == "InvalidRuntimeException"
    assert name in words and "--driver docker" in words

"""The view of functions and APIs in a real browser."""

import uuid

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.emulator.conftest import Local
from tests.emulator.functions.harness import Lambda
from tests.emulator.gateway.harness import Gateway
from tests.support.browser import check_contrast, check_widths

pytest.importorskip("awslambdaric")

SOURCE = "def handler(event, context):\n    return {'statusCode': 200, 'body': str(1 / event.get('by', 1))}\n"


def test_functions_are_shown_with_their_last_call_and_their_addresses(page: Page, local: Local) -> None:
    functions = Lambda(local.emulator)
    name = f"shown-{uuid.uuid4().hex[:8]}"
    arn = functions.create(name, SOURCE, MemorySize=256)["FunctionArn"]
    functions.client.create_function_url_config(FunctionName=name, AuthType="NONE")
    with httpx.Client(timeout=120.0, trust_env=False) as http:
        api = Gateway(functions, http).http_api(f"{name}-api", arn, "GET /run")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Functions").click()
    row = page.locator("#function-list tbody tr").filter(has_text=name)
    expect(row).to_contain_text("python3.11 · 256 MB")
    expect(row).to_contain_text(".lambda-url.ap-northeast-2.localhost:")
    expect(row.locator(".pill")).to_have_text("Never")
    functions.returned(name, {})
    expect(row.locator(".pill")).to_have_text("Succeeded")
    functions.invoke(name, {"by": 0})
    expect(row.locator(".pill")).to_have_text("Failed")
    expect(row.locator(".pill")).to_have_attribute("title", "ZeroDivisionError")
    address = f"{local.emulator.url}/restapis/{api}/_user_request_/"
    expect(page.locator("#api-list tbody tr").filter(has_text=f"{name}-api")).to_contain_text(address)
    check_contrast(page)
    check_widths(page)
    page.get_by_label("Filter models and events").fill(f"{name}-api")
    expect(page.locator("#function-list tbody tr")).to_have_count(0)
    functions.client.delete_function(FunctionName=name)
    local.emulator.client("apigatewayv2", "ap-northeast-2").delete_api(ApiId=api)

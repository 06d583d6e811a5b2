"""The function's module. Lambda imports it once per environment, and calls `handler` with each event."""

from polyhost.container.lambda_function.function import Function

handler = Function.start()

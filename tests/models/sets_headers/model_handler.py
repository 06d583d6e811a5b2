"""Sets the response's status, content type and a header."""


def handle(data, context):
    if data is None:
        return None
    attributes = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
    context.set_response_status(201, "Made", idx=0)
    context.set_response_content_type(0, "text/x-own")
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", f"answer to {attributes}")
    return ["made"]

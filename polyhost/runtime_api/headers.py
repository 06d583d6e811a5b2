"""Headers of InvokeEndpoint that reach the container, and those of its response that reach the client.

The platform passes no others (developer guide, your-algorithms-inference-code; botocore, InvokeEndpoint).
"""

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
STREAMED_ACCEPT = "x-amzn-sagemaker-accept"  # InvokeEndpointWithResponseStream's Accept
STREAMED_CONTENT_TYPE = b"x-amzn-sagemaker-content-type"
INVOKED_VARIANT = b"x-amzn-invoked-production-variant"
# By the operation's members.
TO_CONTAINER = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "TargetModel": TARGET_MODEL,
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
# Besides the content type.
TO_CLIENT = (
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
)

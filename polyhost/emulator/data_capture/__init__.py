"""Invocations and their responses in S3, as DataCaptureConfig asks for them."""

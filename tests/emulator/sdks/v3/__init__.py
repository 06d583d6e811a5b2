"""SageMaker's Python SDK v3, one script for each way to host a model.

`python -m tests.emulator.sdks.v3.real_time NAME` runs one; NAME is what it may call its resources.

They use its package sagemaker-core, which has a class for each resource. Each runs in an environment that has the SDK
and nothing of polyhost, against an emulator of small containers, and fails by its assertions.
"""

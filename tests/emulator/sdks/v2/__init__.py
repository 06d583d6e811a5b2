"""SageMaker's Python SDK v2, one script for each way to host a model.

`python -m tests.emulator.sdks.v2.real_time NAME` runs one; NAME is what it may call its resources.

Each runs in an environment that has the SDK and nothing of polyhost, against an emulator of small containers, and
fails by its assertions.
"""

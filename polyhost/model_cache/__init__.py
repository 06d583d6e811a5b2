"""The models of one container: downloaded and unpacked on a disk, loaded into memory, evicted from both.

What SageMaker does, the developer guide says ("Multi-model endpoints"); where it says nothing, docs/emulator.md lists
what is assumed. The package knows neither the emulator nor a way to reach S3 or the container: `interfaces` has the
protocols of what is handed in.
"""

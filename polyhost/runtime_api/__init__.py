"""AWS's runtime API (botocore sagemaker-runtime/2017-05-13), for whatever serves it: the emulator and the container."""

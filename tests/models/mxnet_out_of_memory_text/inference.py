"""Fails to load in MXNet's words."""


class MXNetError(RuntimeError):
    """MXNet's is a RuntimeError too."""


def model_fn(model_dir):
    raise MXNetError('[10:23:33] src/storage/./cpu_device_storage.h:70: Failed to allocate CPU Memory"')


def predict_fn(data, model):
    return data

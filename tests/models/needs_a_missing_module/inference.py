"""Imports a module that is neither in the archive nor in the image."""

import a_missing_module


def model_fn(model_dir):
    return a_missing_module.load(model_dir)

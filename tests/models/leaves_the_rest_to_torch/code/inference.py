"""A network in training mode, as its constructor leaves it, and nothing else: as for SageMaker's PyTorch image."""

import torch


def model_fn(model_dir):
    return torch.nn.Sequential(torch.nn.BatchNorm1d(2, eps=0), torch.nn.Dropout(0.5))

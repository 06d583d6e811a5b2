"""Tests on a machine with an NVIDIA GPU and a PyTorch built for it; elsewhere they are skipped, with the reason."""

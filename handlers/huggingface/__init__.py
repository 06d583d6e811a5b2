"""Hugging Face's transformers: models as `save_pretrained` writes them."""

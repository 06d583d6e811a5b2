"""Tiny models of Hugging Face's transformers, with random weights and tokenizers trained here."""

import importlib
import json
from pathlib import Path
from typing import Any

SENTENCES = (
    "the film was good and the music was fine",
    "the film was bad and nobody liked it",
    "Anna lives in Berlin and works in Paris",
    "what is the name of the city in the north",
    "영화가 정말 재미있다",
    "이 영화는 너무 지루하다",
)
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def save(folder: Path, architecture: str, **config: Any) -> Path:
    """Write a model of this architecture, and its tokenizer, as `save_pretrained` does."""
    import torch
    import transformers

    torch.manual_seed(0)
    model_class = getattr(transformers, architecture)
    tokenizer = _tokenizer(architecture)
    settings = {**_settings(architecture, tokenizer), **config}
    model = model_class(model_class.config_class(**settings)).eval()
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    elif architecture.startswith("ViT"):
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, seed: int = 0) -> Path:
    """Write an adapter of a base model, with a head for two classes, as PEFT does."""
    import peft
    import torch
    import transformers

    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"]))
    for key, parameter in adapted.named_parameters():
        if "lora_B" in key or "classifier" in key:  # else an adapter changes nothing before it is trained
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(folder)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": base.name}))
    return folder


def _settings(architecture: str, tokenizer: Any) -> dict[str, Any]:
    if architecture.startswith("ViT"):
        return {**_SIZES, "image_size": 32, "patch_size": 8, "id2label": {0: "cat", 1: "dog"}}
    special = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    if architecture.startswith("GPT2"):
        return {**special, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    if architecture.startswith("T5"):
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
        return {**special, **sizes, "decoder_start_token_id": tokenizer.pad_token_id}
    return {**special, **_SIZES, "embedding_size": 32, "max_position_embeddings": 64}


def _tokenizer(architecture: str) -> Any:
    """Return a tokenizer of word pieces, trained on a few sentences; None for models of images."""
    if architecture.startswith("ViT"):
        return None
    from transformers import PreTrainedTokenizerFast

    tokenizers = importlib.import_module("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    trained.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(SENTENCES, tokenizers.trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    if not architecture.startswith("GPT2"):
        trained.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    trained.decoder = tokenizers.decoders.WordPiece()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=trained, model_max_length=64, **names)

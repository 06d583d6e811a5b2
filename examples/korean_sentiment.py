"""Korean reviews, good or bad: a tiny ELECTRA that is trained here in seconds, and nine variants, behind one endpoint.

The archive is what `save_pretrained` writes: no script is needed. The environment alone decides where it runs. Here,
offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.korean_sentiment

On AWS: credentials, a region, an image with FRAMEWORKS=huggingface in ECR, `--image` and `--role ARN`.

The reviews beside this file are made up, in the format of NSMC (Naver sentiment movie corpus: id, document, label).
`--data ratings_train.txt` takes NSMC's own file in their place, and `--weights FOLDER` the weights and the tokenizer of
a larger ELECTRA, such as KoELECTRA, to begin with.
"""

import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.account import CAPACITY, Account, Resources, argument_parser

NAME = "korean-sentiment"
REVIEWS = Path(__file__).parent / "korean_reviews.tsv"
LABELS = ("부정", "긍정")  # negative, positive: 0 and 1 in the file
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VARIANTS = 10
HELD_OUT = 50
EPOCHS, BATCH = 12, 32
READY_S = 600.0  # that a new container may take to import transformers, on a busy machine
QUESTIONS = ("배우들의 연기가 훌륭했다", "이야기가 너무 지루하다", "올해 최고였다 다시 보고 싶다", "시간이 아까웠다")

Review = tuple[str, int]


def read(file: Path) -> list[Review]:
    """Return the documents and their labels, without those that have no text."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["document"], int(row["label"])) for row in rows if row["document"]]


def make_tokenizer(reviews: Sequence[Review]) -> Any:
    """Train a tokenizer of word pieces on the reviews."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=list(SPECIAL), show_progress=False)
    pieces.train_from_iterator((text for text, _ in reviews), trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=64, **names)


def make_model(tokenizer: Any, weights: Path | None) -> Any:
    """Return an ELECTRA for two labels: a tiny one of random weights, or the given one with a new head."""
    from transformers import ElectraConfig, ElectraForSequenceClassification

    labels: dict[str, Any] = {"id2label": dict(enumerate(LABELS)), "label2id": {LABELS[0]: 0, LABELS[1]: 1}}
    if weights is not None:
        return ElectraForSequenceClassification.from_pretrained(weights, local_files_only=True, **labels)
    sizes = {"embedding_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"intermediate_size": 128, "max_position_embeddings": 64, "vocab_size": len(tokenizer)}
    return ElectraForSequenceClassification(ElectraConfig(**sizes, **more, **labels))


def train(reviews: Sequence[Review], folder: Path, seed: int, weights: Path | None) -> None:
    """Train on the reviews, and write the contents of the archive."""
    import torch
    from transformers import AutoTokenizer

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # a tiny model is no faster with more
    tokenizer = make_tokenizer(reviews) if weights is None else AutoTokenizer.from_pretrained(weights)
    model = make_model(tokenizer, weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3 if weights is None else 5e-5)
    order, rows = random.Random(seed), list(reviews)
    model.train()
    for _ in range(EPOCHS if weights is None else 1):
        order.shuffle(rows)
        for start in range(0, len(rows), BATCH):
            texts, labels = zip(*rows[start : start + BATCH], strict=True)
            inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            loss = model(**inputs, labels=torch.tensor(labels)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def ask(account: Account, model: str, texts: Sequence[str]) -> list[str]:
    """Return the label of each text."""
    call = {"EndpointName": NAME, "TargetModel": f"{model}.tar.gz", "ContentType": "application/json"}
    deadline = time.monotonic() + READY_S
    while True:
        try:
            response = account.runtime.invoke_endpoint(**call, Body=json.dumps({"inputs": list(texts)}))
        except account.runtime.exceptions.ModelNotReadyException:  # its load takes longer than a call may
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return [answer["label"] for answer in json.loads(response["Body"].read())]


def host(account: Account, resources: Resources, folders: Sequence[Path]) -> None:
    """Upload an archive of each folder, and create an endpoint for all of them."""
    (address,) = {account.upload_archive(folder, NAME).rpartition("/")[0] for folder in folders}
    container = {
        "Image": account.image,
        "ModelDataUrl": f"{address}/",
        "Mode": "MultiModel",
        "Environment": {"POLYHOST_ZYGOTES": "huggingface"},
    }
    resources.create_model(NAME, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": NAME, **CAPACITY}
    resources.create_endpoint_config(NAME, ProductionVariants=[variant])
    resources.create_endpoint(NAME, NAME)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argument_parser("korean_sentiment", __doc__)
    parser.add_argument("--data", type=Path, default=REVIEWS, help="a file in NSMC's format (default: made-up reviews)")
    parser.add_argument("--weights", type=Path, help="a folder with an ELECTRA to begin with (default: random weights)")
    options = parser.parse_args(arguments)
    reviews = read(options.data)
    random.Random(0).shuffle(reviews)
    unseen, known = reviews[:HELD_OUT], reviews[HELD_OUT:]
    account = Account(options.image, options.role)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        models = [Path(folder) / f"sentiment-{number}" for number in range(VARIANTS)]
        for seed, model in enumerate(models):
            train(known, model, seed, options.weights)
        host(account, resources, models)
        for text, label in zip(QUESTIONS, ask(account, models[0].name, QUESTIONS), strict=True):
            print(f"{text}: {label}")
        texts, labels = zip(*unseen, strict=True)
        for model in models:
            found = ask(account, model.name, texts)
            right = sum(LABELS[label] == one for label, one in zip(labels, found, strict=True))
            print(f"{model.name}: {right} of {len(texts)} reviews that it has not seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())

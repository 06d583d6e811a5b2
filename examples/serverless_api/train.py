"""Train the classifier of digits, and write its archive and a request.

`python -m examples.serverless_api.train FOLDER`: the folder gets digits.tar.gz, and digits.json with five digits that
the classifier has not seen.
"""

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import joblib

from examples.serverless_endpoint import train

COUNT = 5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.serverless_api.train")
    parser.add_argument("folder", type=Path, help="where digits.tar.gz and digits.json are written")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as temporary:
        contents = Path(temporary) / "digits"
        unseen, _ = train(contents)
        classes = joblib.load(contents / "model.joblib").predict(unseen[:COUNT])
        with tarfile.open(folder / "digits.tar.gz", "w:gz") as archive:
            archive.add(contents, arcname=".")
    (folder / "digits.json").write_text(json.dumps(unseen[:COUNT].tolist()))
    print(f"{folder / 'digits.json'} has {COUNT} digits;\nthe classifier takes them for {classes.tolist()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

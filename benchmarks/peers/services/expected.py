"""Print what a model itself predicts: `python -m benchmarks.peers.services.expected FOLDER BODY_FILE`."""

import json
import sys
import warnings
from pathlib import Path

from benchmarks.peers.services.prediction import load


def main(folder: str, body_file: str) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    json.dump(load(Path(folder))(json.loads(Path(body_file).read_bytes())), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""An A/B test: two versions of a model share the calls, `polyhost compare` says which is better, and it gets all calls.

Version B fails for large flats. The environment alone decides where it runs. Here, offline, with `polyhost emulator` in
another shell, and the extra `compare`:

    eval "$(polyhost emulator env)"
    python -m examples.ab_test

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`. CloudWatch has the calls a minute or two
later there.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from examples.account import CAPACITY, Account, Resources, argument_parser

NAME = "prices-ab"
VERSIONS = ("A", "B")
CALLS = 200
WAIT_S = 300.0
_SCRIPT = """
def model_fn(model_dir):
    return {version!r}

def predict_fn(areas, version):
    if version == "B" and areas[0][0] > 90:
        raise ValueError("version B knows no flats of more than 90 square metres")
    return [[3000 * float(area) for area in row] for row in areas]
"""


class AbTest:
    """The endpoint, with a production variant for each version."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, resources: Resources, folder: Path) -> None:
        """Create the endpoint, in which both variants have the same weight."""
        variants = []
        for version in VERSIONS:
            contents = folder / version
            contents.mkdir()
            (contents / "inference.py").write_text(_SCRIPT.format(version=version))
            container = {
                "Image": self._account.image,
                "ModelDataUrl": self._account.upload_archive(contents, f"{NAME}/{version}"),
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "bare"},
            }
            resources.create_model(f"{NAME}-{version}", PrimaryContainer=container)
            variants.append({"VariantName": version, "ModelName": f"{NAME}-{version}"} | CAPACITY)
        resources.create_endpoint_config(NAME, ProductionVariants=variants)
        resources.create_endpoint(NAME, NAME)

    def call(self, area: float) -> str | None:
        """Return the variant that answered, None if the call failed."""
        try:
            response = self._account.runtime.invoke_endpoint(
                EndpointName=NAME, ContentType="application/json", Body=json.dumps([[area]])
            )
        except ClientError:
            return None
        return str(response["InvokedProductionVariant"])

    def compare(self) -> dict[str, Any]:
        """Return what `polyhost compare` says, once CloudWatch has all calls."""
        deadline = time.monotonic() + WAIT_S
        while True:
            command = [sys.executable, "-m", "polyhost", "compare", NAME, "--json"]
            done = subprocess.run(command, capture_output=True, text=True)
            report: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"variants": []}
            if sum(variant["calls"] for variant in report["variants"]) >= CALLS:
                return report
            if time.monotonic() > deadline:
                sys.exit(f"CloudWatch has not all calls of {NAME} after {WAIT_S:.0f} s. {done.stderr}")
            time.sleep(1)

    def promote(self, version: str) -> None:
        """Give a variant all calls, by the weights of both."""
        weights = [{"VariantName": name, "DesiredWeight": float(name == version)} for name in VERSIONS]
        sagemaker = self._account.sagemaker
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=NAME, DesiredWeightsAndCapacities=weights)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("ab_test", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    test, areas = AbTest(account), random.Random(1)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        test.create(resources, Path(folder))
        for _ in range(CALLS):
            test.call(areas.uniform(20, 120))
        report = test.compare()
        for variant in report["variants"]:
            print(f"{variant['name']}: {variant['calls']} calls, {variant['errors']} errors")
        (comparison,) = report["comparisons"]
        if comparison["better"] is None:
            sys.exit(comparison["reason"])
        print(f"{comparison['better']} is better: {comparison['reason']}")
        test.promote(comparison["better"])
        answered = {test.call(100.0) for _ in range(20)}
        print(f"answered by: {', '.join(sorted(map(str, answered)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

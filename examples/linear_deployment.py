"""A linear shift under load: a new version gets a quarter more of the calls with each step, and no call fails.

The environment alone decides where it runs. Here, offline, with `polyhost emulator --time-scale 0.01` in another shell,
in which ten minutes of waiting take 6 s:

    eval "$(polyhost emulator env)"
    python -m examples.linear_deployment

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from examples.account import Account, Resources, argument_parser
from examples.prices_endpoint import PricesEndpoint

LINEAR = {
    "TrafficRoutingConfiguration": {
        "Type": "LINEAR",
        "WaitIntervalInSeconds": 300,
        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
    }
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("linear_deployment", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = PricesEndpoint(account, "prices-linear")
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        endpoint.create(resources, Path(folder), "1", "2")
        with endpoint.traffic() as traffic:
            endpoint.deploy("2", BlueGreenUpdatePolicy=LINEAR)
            described = endpoint.follow()
        print(f"calls meanwhile: {traffic.describe()}")
        status, config = described["EndpointStatus"], described["EndpointConfigName"]
        print(f"{status} with {config}, version {endpoint.call()} answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())

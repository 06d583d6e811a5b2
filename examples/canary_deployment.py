"""A canary: a new version of a model gets a fifth of the calls, and then all of them.

An alarm on the new version's errors would roll it back. The environment alone decides where it runs. Here, offline,
with `polyhost emulator --time-scale 0.01` in another shell, in which ten minutes of waiting take 6 s:

    eval "$(polyhost emulator env)"
    python -m examples.canary_deployment

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from examples.account import Account, Resources, argument_parser
from examples.prices_endpoint import PricesEndpoint

CANARY = {
    "TrafficRoutingConfiguration": {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 600,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20},
    },
    "TerminationWaitInSeconds": 120,
    "MaximumExecutionTimeoutInSeconds": 3600,
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("canary_deployment", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = PricesEndpoint(account, "prices-canary")
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        endpoint.create(resources, Path(folder), "1", "2")
        with endpoint.error_alarm("2") as alarm, endpoint.traffic() as traffic:
            alarms = {"Alarms": [{"AlarmName": alarm}]}
            endpoint.deploy("2", BlueGreenUpdatePolicy=CANARY, AutoRollbackConfiguration=alarms)
            described = endpoint.follow()
        print(f"calls meanwhile: {traffic.describe()}")
        status, config = described["EndpointStatus"], described["EndpointConfigName"]
        print(f"{status} with {config}, version {endpoint.call()} answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())

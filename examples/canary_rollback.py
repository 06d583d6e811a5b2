"""A canary that is rolled back: a broken version gets half of the calls, and an alarm ends that.

The version fails with every call that it gets; CloudWatch counts them, the alarm trips, and SageMaker gives all calls
back to the old version. The environment alone decides where it runs. Here, offline, with
`polyhost emulator --time-scale 0.01` in another shell, in which ten minutes of waiting take 6 s:

    eval "$(polyhost emulator env)"
    python -m examples.canary_rollback

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
        "WaitIntervalInSeconds": 3600,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
    }
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("canary_rollback", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = PricesEndpoint(account, "prices-rollback")
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        endpoint.create(resources, Path(folder), "1", "broken")
        with endpoint.error_alarm("broken") as alarm, endpoint.traffic() as traffic:
            alarms = {"Alarms": [{"AlarmName": alarm}]}
            endpoint.deploy("broken", BlueGreenUpdatePolicy=CANARY, AutoRollbackConfiguration=alarms)
            described = endpoint.follow()
        print(f"calls meanwhile: {traffic.describe()}")
        print(described.get("FailureReason", "no reason"))
        status, config = described["EndpointStatus"], described["EndpointConfigName"]
        print(f"{status} with {config}, version {endpoint.call()} answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One capacity out of what alarms, limits and cool-downs say."""

from polyhost.emulator.autoscaling.decision import CapacityLimits, CoolDown, Decision, NotScaledCode, Trigger, decide
from polyhost.emulator.autoscaling.policies import AdjustmentType, Step, StepScaling, TargetTracking

LIMITS = CapacityLimits(1, 10)


def _tracking(value: float, name: str = "track", scales_in: bool = True) -> Trigger:
    return Trigger(name, TargetTracking(10), f"{name}-alarm", value, 10, scales_in=scales_in)


def _step(adjustment: int, name: str = "step") -> Trigger:
    policy = StepScaling(AdjustmentType.CHANGE, (Step(float("-inf"), float("inf"), adjustment),))
    return Trigger(name, policy, f"{name}-alarm", 0, 0)


def _decide(*triggers: Trigger, current: int = 2, cool_down: CoolDown | None = None) -> Decision | None:
    return decide(triggers, current, LIMITS, cool_down, now=100)


def _capacity(decision: Decision | None) -> int | None:
    return decision.capacity if decision is not None else None


def test_the_largest_capacity_wins() -> None:
    decision = _decide(_tracking(30), _step(1), _step(-1, "in"))
    assert decision is not None
    assert (decision.capacity, decision.trigger.policy_name, decision.code) == (6, "track", None)
    assert decision.trigger.cause == "monitor alarm track-alarm in state ALARM triggered policy track"


def test_of_two_policies_that_remove_the_one_that_removes_less_wins() -> None:
    assert _capacity(_decide(_step(-4), _tracking(5), current=8)) == 4
    assert _capacity(_decide(_step(-1), _tracking(5), current=8)) == 7


def test_limits_hold_and_are_the_reason_when_nothing_changes() -> None:
    assert _capacity(_decide(_tracking(1000))) == 10
    assert _decide(_tracking(1000), current=10) == Decision(10, _tracking(1000), NotScaledCode.AT_MOST)
    assert _decide(_step(-1), current=1) == Decision(1, _step(-1), NotScaledCode.AT_LEAST)
    assert _decide(_tracking(10)) is None
    assert _decide() is None


def test_a_policy_that_may_not_scale_in_does_not() -> None:
    assert _decide(_tracking(1, scales_in=False), current=5) is None


def test_what_a_scale_out_added_counts_while_it_cools_down() -> None:
    cooling = CoolDown(until=101, before=2, scaled_out=True)
    assert _decide(_step(2), current=4, cool_down=cooling) is None
    assert _capacity(_decide(_step(3), current=4, cool_down=cooling)) == 5
    assert _capacity(_decide(_step(2), current=4, cool_down=CoolDown(99, 2, True))) == 6


def test_nothing_is_removed_during_a_cool_down_but_added_at_once() -> None:
    cooling = CoolDown(until=101, before=6, scaled_out=False)
    assert _decide(_step(-1), current=4, cool_down=cooling) is None
    assert _capacity(_decide(_step(1), current=4, cool_down=cooling)) == 5
    assert _decide(_step(-1), current=4, cool_down=CoolDown(101, 2, True)) is None

"""The recorder: the latest events, and its listeners."""

from polyhost.emulator.telemetry.recorder import KEPT_EVENTS, Event, EventKind, MetricValue, Place, Recorder

PLACE = Place("eu-west-1", "e")


def test_latest_events_are_kept() -> None:
    recorder = Recorder()
    for number in range(KEPT_EVENTS + 5):
        recorder.event(EventKind.LOADED, PLACE, f"event {number}", model="m", ms=1.5)
    assert len(recorder.events) == KEPT_EVENTS
    assert (recorder.events[0].message, recorder.events[-1].ms) == ("event 5", 1.5)


def test_listeners_get_what_is_recorded() -> None:
    recorder = Recorder()
    events: list[Event] = []
    values: list[MetricValue] = []
    lines: list[tuple[Place, str]] = []
    removed: list[Place] = []
    recorder.listen(events.append, values.append, lambda place, line: lines.append((place, line)), removed.append)
    recorder.event(EventKind.FAILED, PLACE, "failed")
    recorder.measure("Invocations", 1, "None", PLACE)
    recorder.log_line(PLACE, "line")
    recorder.remove(PLACE)
    assert [event.kind for event in events] == ["failed"]
    assert [(value.name, value.value, value.unit) for value in values] == [("Invocations", 1, "None")]
    assert lines == [(PLACE, "line")]
    assert removed == [PLACE]


def test_following_ends_with_its_block() -> None:
    recorder = Recorder()
    events: list[Event] = []
    with recorder.following(events.append):
        recorder.event(EventKind.LOADED, PLACE, "during")
    recorder.event(EventKind.LOADED, PLACE, "after")
    assert [event.message for event in events] == ["during"]

"""The latest events of a store, as browsers follow them."""

from polyhost.container.model_store.events import StoreEvents


def test_each_follower_gets_what_it_has_not_seen() -> None:
    events = StoreEvents()
    assert events.since(0) == ([], 0)
    events.add("loaded", "a@1", "loaded a", 0.25)
    events.add("failed", "b@1", "no archive")
    fresh, seen = events.since(0)
    assert [(event["kind"], event["model"], event["ms"]) for event in fresh] == [
        ("loaded", "a@1", 250.0),
        ("failed", "b@1", None),
    ]
    assert events.since(seen) == ([], 2)
    events.add("unloaded", "a@1", "to make room")
    assert [event["kind"] for event in events.since(seen)[0]] == ["unloaded"]


def test_old_events_are_dropped_and_not_sent_twice() -> None:
    events = StoreEvents()
    for number in range(2500):
        events.add("loaded", str(number), "")
    fresh, seen = events.since(0)
    assert (len(fresh), fresh[-1]["model"], seen) == (1000, "2499", 2500)
    events.add("loaded", "2500", "")
    assert [event["model"] for event in events.since(seen)[0]] == ["2500"]

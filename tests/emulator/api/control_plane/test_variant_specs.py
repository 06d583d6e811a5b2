"""Specs as they are saved with their endpoint."""

import json

from polyhost.emulator.api.control_plane.variant_specs import from_json, retain_properties, to_json
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.interfaces import ContainerSpec, VariantSpec

CAPTURE = CaptureSettings("s3://b/p", 50, captures_output=False, csv_types=("text/csv",), kms_key_id="k")


def spec(name: str, capture: CaptureSettings | None) -> VariantSpec:
    container = ContainerSpec("image", "s3://m/", True, {"A": "b"})
    return VariantSpec(name, (container,), "ml.m5.large", 2, 1.0, 1 << 30, capture=capture)


def test_a_saved_spec_is_read_as_it_was() -> None:
    for capture in (CAPTURE, None):
        given = spec("v", capture)
        assert from_json(json.loads(json.dumps(to_json(given)))) == given


def test_a_spec_that_was_saved_before_data_capture_is_read() -> None:
    saved = to_json(spec("v", None))
    del saved["capture"]
    assert from_json(saved) == spec("v", None)


def test_data_capture_is_retained_for_all_variants_unless_it_is_excluded() -> None:
    served, wanted = [spec("a", CAPTURE)], [spec("a", None), spec("new", None)]
    assert [item.capture for item in retain_properties(wanted, served, [])] == [CAPTURE, CAPTURE]
    assert [item.capture for item in retain_properties(wanted, served, ["DataCaptureConfig"])] == [None, None]

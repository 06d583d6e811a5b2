import io
import json
from pathlib import Path

from PIL import Image
from rich.console import Console

from benchmarks import plot, report
from benchmarks.effort import QUICK
from benchmarks.machine import Machine
from benchmarks.results import Results

MACHINE = Machine("5.10.0", 2, 3.5, "Some CPU", "3.12.1", "2026-01-31")
MACHINE_TEXT = "Linux 5.10.0, 2 cores (Some CPU), 3.5 GiB, Python 3.12.1, 2026-01-31"


def three_stacks() -> Results:
    results = Results()
    for stack, rate in (("stock", 1000.0), ("polyhost", 1600.0), ("native", 2800.0)):
        results.add("hot", "lr", stack, {"8_clients_per_second": rate, "8_clients_p99_ms": 9000.0 / rate})
        results.add("cold", "lr", stack, {"load_ms": 5.0, "first_response_ms": 9.0})
        results.add("density", "lr", stack, {"per_model_mb": 4.0})
    return results


def test_table_has_a_column_and_a_verdict_per_front_end_and_names_the_machine() -> None:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(report.table(three_stacks(), MACHINE))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "stock limit polyhost (MMS) native target, MMS target, native" in lines
    assert "hot, 8 clients: lr 1,000/s 1,600/s 2,800/s ≥ 1.5 x stock met ≥ 2.9 x stock missed" in lines
    assert MACHINE_TEXT in lines


def test_markdown_has_the_same_rows_below_the_machine() -> None:
    lines = report.markdown(three_stacks(), MACHINE).splitlines()
    assert lines[0] == f"Measured on {MACHINE_TEXT}."
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")
    hot = "| hot, 8 clients: lr | 1,000/s |  | 1,600/s | 2,800/s | ≥ 1.5 x stock | met | ≥ 2.9 x stock | **missed** |"
    assert hot in lines


def test_this_machine_is_named() -> None:
    machine = Machine.current()
    assert machine.kernel and machine.processor and machine.cores >= 1 and machine.memory_gib > 0
    assert len(machine.date) == len("2026-01-31")


def test_json_names_the_machine_and_can_be_read(tmp_path: Path) -> None:
    report.write_json(tmp_path / "results.json", three_stacks(), QUICK, MACHINE)
    assert report.read_json(tmp_path / "results.json") == three_stacks()
    assert json.loads((tmp_path / "results.json").read_bytes())["machine"]["kernel"] == "5.10.0"


def test_chart_with_and_without_the_native_front_end(tmp_path: Path) -> None:
    two_stacks = Results([found for found in three_stacks().measurements if found.stack != "native"])
    for results in (three_stacks(), two_stacks):
        plot.draw(results, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            assert picture.width > 1000

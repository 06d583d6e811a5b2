import io
from pathlib import Path

from PIL import Image
from rich.console import Console

from benchmarks import plot, report
from benchmarks.effort import QUICK
from benchmarks.results import Results


def three_stacks() -> Results:
    results = Results()
    for stack, rate in (("stock", 1000.0), ("polyhost", 1600.0), ("native", 2800.0)):
        results.add("hot", "lr", stack, {"8_clients_per_second": rate, "8_clients_p99_ms": 9000.0 / rate})
        results.add("cold", "lr", stack, {"load_ms": 5.0, "first_answer_ms": 9.0})
        results.add("density", "lr", stack, {"per_model_mb": 4.0})
    return results


def test_table_has_a_column_and_a_verdict_for_each_front_end() -> None:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(report.table(three_stacks()))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "stock limit polyhost (MMS) native target, MMS target, native" in lines
    assert "hot, 8 clients: lr 1,000/s 1,600/s 2,800/s ≥ 1.5 x stock met ≥ 2.9 x stock missed" in lines


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    report.write_json(tmp_path / "results.json", three_stacks(), QUICK)
    assert report.read_json(tmp_path / "results.json") == three_stacks()


def test_the_picture_is_drawn_with_and_without_the_native_front_end(tmp_path: Path) -> None:
    two_stacks = Results([found for found in three_stacks().measurements if found.stack != "native"])
    for results in (three_stacks(), two_stacks):
        plot.draw(results, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            assert picture.width > 1000

import json
import re
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

LINE = re.compile(r"probability=(\d\.\d{6}), class=(n0000000\d thing \d, item \d)")
IMAGE = numpy.random.default_rng(1).integers(0, 255, (6, 6, 3))


def test_image_gives_the_five_best_classes(mxnet_net: Path) -> None:
    served = Served(mxnet_net)
    lines = served.post(picture(IMAGE), "application/x-image").json

    scores = served.post(npy(IMAGE.transpose(2, 0, 1)[None]), "application/x-npy").json[0]
    found = [LINE.fullmatch(line) for line in lines]
    assert len(lines) == 5 and all(found)
    best = sorted(enumerate(scores), key=lambda item: -item[1])[:5]
    assert [match[2] for match in found if match] == [
        f"n0000000{index} thing {index}, item {index}" for index, _ in best
    ]
    assert [float(match[1]) for match in found if match] == pytest.approx([score for _, score in best], abs=1e-6)


def test_image_without_labels_gives_scores(mxnet_net: Path, archive: Archive) -> None:
    folder = archive(mxnet_net)
    (folder / "synset.txt").unlink()
    scores = numpy.array(Served(folder).post(picture(IMAGE), "image/png").json)
    assert scores.shape == (1, 7)
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_images_of_any_size_and_format(mxnet_net: Path, form: str) -> None:
    served = Served(mxnet_net)
    for shape in ((40, 30, 3), (3, 90), (6, 6)):
        assert len(served.post(picture(numpy.zeros(shape), form), f"image/{form.lower()}").json) == 5


def test_rows_in_any_number_and_media_type(mxnet_net: Path) -> None:
    served = Served(mxnet_net)
    samples = numpy.random.default_rng(2).normal(size=(5, 3, 6, 6)).round(3)
    as_array = numpy.array(served.post(npy(samples), "application/x-npy").json)
    as_rows = numpy.array(served.post(json.dumps(samples.reshape(5, -1).tolist())).json)
    as_csv = served.post("\n".join(",".join(map(str, row)) for row in samples.reshape(5, -1)), "text/csv").json
    one_by_one = [served.post(json.dumps({"data": sample.tolist()})).json["prediction"] for sample in samples]
    assert as_array.shape == (5, 7)
    for other in (as_rows, as_csv, one_by_one):
        assert numpy.allclose(as_array, other, atol=1e-6)


def test_rows_in_the_shapes_of_other_servers(mxnet_net: Path) -> None:
    served = Served(mxnet_net)
    samples = numpy.random.default_rng(2).normal(size=(2, 3, 6, 6)).round(3)
    wanted = numpy.array(served.post(npy(samples), "application/x-npy").json)
    rows = samples.reshape(2, -1).tolist()
    tensor = {"name": "data", "shape": [2, 3, 6, 6], "datatype": "FP32", "data": samples.tolist()}
    for body in (
        {"instances": rows},
        {"instances": [{"data": sample} for sample in samples.tolist()]},
        {"instances": [{"features": row} for row in rows]},
        {"inputs": [tensor]},
        {"inputs": [tensor | {"name": "input"}]},
        {"inputs": {"data": samples.tolist()}},
        {"inputs": samples.tolist()},
        {"features": rows},
    ):
        assert numpy.allclose(served.post(json.dumps(body)).json, wanted, atol=1e-6), list(body)
    assert numpy.allclose(served.post(json.dumps({"data": rows})).json["prediction"], wanted, atol=1e-6)
    response = served.post(json.dumps({"inputs": [tensor | {"datatype": "INT8"}]}))
    assert (response.status, "the input 'data' is INT8" in str(response.error)) == (400, True)


def test_batch_of_the_shapes_file_is_padded_and_cut(mxnet_net: Path, archive: Archive) -> None:
    folder = archive(mxnet_net, **{"net-shapes.json": '[{"shape": [4, 3, 6, 6], "name": "data"}]'})
    samples = npy(numpy.random.default_rng(2).normal(size=(6, 3, 6, 6)))
    expected = Served(mxnet_net).post(samples, "application/x-npy").json
    assert numpy.allclose(Served(folder).post(samples, "application/x-npy").json, expected, atol=1e-6)


def saved(archive: Archive, folder: Path, mxnet: Any, network: Any, shapes: list[dict[str, Any]]) -> Path:
    mxnet.model.save_checkpoint(str(folder / "net"), 3, network, {}, {"unused": mxnet.nd.zeros((1,))})
    files = {name: (folder / name).read_bytes() for name in ("net-symbol.json", "net-0003.params")}
    return archive(**files, **{"net-shapes.json": json.dumps(shapes)})


def test_grey_images_for_one_channel(archive: Archive, mxnet: Any, tmp_path: Path) -> None:
    """The network sums the picture, so that its output is known."""
    total = mxnet.sym.sum(mxnet.sym.Variable("pixels"), axis=(1, 2, 3))
    served = Served(saved(archive, tmp_path, mxnet, total, [{"shape": [1, 1, 8, 8], "name": "pixels"}]))
    grey = numpy.arange(64).reshape(8, 8)
    assert served.post(picture(grey), "image/png").json == [grey.sum()]
    assert served.post(picture(numpy.stack([grey] * 3, axis=2)), "image/png").json == [grey.sum()]
    assert served.post(json.dumps(grey.tolist())).json == [grey.sum()]


def test_several_inputs_and_outputs(archive: Archive, mxnet: Any, tmp_path: Path) -> None:
    left, right = mxnet.sym.Variable("left"), mxnet.sym.Variable("right")
    both = mxnet.sym.Group([left + right, left - right])
    shapes = [{"shape": [1, 2], "name": "left"}, {"shape": [1, 2], "name": "right"}]
    served = Served(saved(archive, tmp_path, mxnet, both, shapes))
    assert served.post('{"right": [1, 1], "left": [3, 4]}').json == {"prediction": [[4, 5], [2, 3]]}
    assert served.post('[{"left": [3, 4], "right": [0, 0]}, {"left": [1, 2], "right": [1, 1]}]').json == [
        [[3, 4], [3, 4]],
        [[2, 3], [0, 1]],
    ]
    assert "inputs ['left', 'right']" in str(served.post("[[3, 4]]").error)


@pytest.mark.parametrize("several", [False, True])
def test_output_without_rows_first_is_not_cut(
    archive: Archive, mxnet: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, several: bool
) -> None:
    rows = mxnet.sym.Variable("data")
    turned = mxnet.sym.transpose(rows)
    network = mxnet.sym.Group([turned, rows]) if several else turned
    served = Served(saved(archive, tmp_path, mxnet, network, [{"shape": [2, 3], "name": "data"}]))
    given = [[1, 2, 3], [4, 5, 6]]
    expected = [[1, 4], [2, 5], [3, 6]]
    assert served.post(json.dumps(given)).json == ([expected, given] if several else expected)
    for other in (given[:1], given * 2):
        response = served.post(json.dumps(other))
        assert response.status == 400
        assert f"cannot be cut: send 2 rows, not {len(other)}" in str(response.error)

    together = served.post_all(*((json.dumps(given), {"Content-Type": "application/json"}) for _ in range(2)))
    assert [response.json for response in together] == [[expected, given] if several else expected] * 2


def test_missing_gpu_is_a_warning(mxnet_net: Path, mxnet: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As with the MXNet of the package index, which is built without CUDA."""
    if mxnet.context.num_gpus():
        pytest.skip("this MXNet sees a GPU")
    assert len(Served(mxnet_net, gpu_id=0).post(picture(IMAGE), "image/png").json) == 5
    assert "GPU 0 was assigned" in caplog.text


def test_highest_epoch_is_loaded(mxnet_net: Path, archive: Archive) -> None:
    older = (mxnet_net / "net-0000.params").read_bytes()
    Served(archive(mxnet_net, **{"net-0000.params": b"damaged", "net-0007.params": older, "._net-0009.params": b"x"}))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        ("[[1, 2, 3]]", "application/json", 400, "expected [n, 3, 6, 6] or n rows of 108 values, given [1, 3]"),
        (npy(numpy.zeros((1, 6, 6, 3))), "application/x-npy", 400, "given [1, 6, 6, 3]"),
        ('[["a"]]', "application/json", 400, "not a number"),
        (picture(IMAGE)[:60], "image/png", 400, "cannot be read"),
        (picture(IMAGE, "JPEG")[:-200], "image/jpeg", 400, "cannot be read"),
        (b"no image", "application/x-image", 400, "not an image"),
        (b"", "application/x-image", 400, "empty"),
    ],
)
def test_bodies_that_do_not_fit_the_network(
    mxnet_net: Path, body: bytes, content_type: str, status: int, text: str
) -> None:
    response = Served(mxnet_net).post(body, content_type)
    assert (response.status, response.error.phase) == (status, "decode")
    assert text in str(response.error)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"net-shapes.json": "[{"}, r"net-shapes\.json is not JSON"),
        ({"net-shapes.json": "{}"}, "must hold a list with an entry for each input"),
        ({"net-shapes.json": '[{"shape": [1, "3"], "name": "data"}]'}, r"has the entry .*expected one like"),
        ({"net-shapes.json": '[{"shape": [1, 3, 6, 6], "name": "image"}]'}, r"lacks \['data'\].*unknown.*\['image'\]"),
        ({"net-shapes.json": '[{"shape": [1, 1, 6, 6], "name": "data"}]'}, r"conv0_weight is \(4, 1, 3, 3\), but"),
        ({"net-shapes.json": '[{"shape": [1, 3], "name": "data"}]'}, "network cannot take the shapes"),
        ({"net-0000.params": b"damaged" * 9}, r"net-0000\.params is damaged.*Invalid NDArray"),
        ({"net-symbol.json": "[]"}, r"net-symbol\.json is not a symbol file"),
        ({"other-symbol.json": "[]"}, r"found net-symbol\.json, other-symbol\.json"),
        ({"synset.txt": b"\xff"}, r"synset\.txt is not utf-8"),
    ],
)
def test_inconsistent_files(mxnet_net: Path, archive: Archive, files: dict[str, Any], text: str) -> None:
    with pytest.raises(BadModelError, match=text):
        Served(archive(mxnet_net, **files))


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("net-shapes.json", r"needs net-shapes\.json beside it"),
        ("net-0000.params", r"needs its parameters in net-0000\.params; found: net-shapes\.json"),
        ("net-symbol.json", r"found nothing"),
    ],
)
def test_missing_files(mxnet_net: Path, archive: Archive, missing: str, text: str) -> None:
    folder = archive(mxnet_net)
    (folder / missing).unlink()
    with pytest.raises(BadModelError, match=text):
        Served(folder)


def test_truncated_parameters(mxnet_net: Path, archive: Archive) -> None:
    whole = (mxnet_net / "net-0000.params").read_bytes()
    with pytest.raises(BadModelError, match="damaged"):
        Served(archive(mxnet_net, **{"net-0000.params": whole[: len(whole) // 2]}))


def test_fewer_labels_than_classes(mxnet_net: Path, archive: Archive) -> None:
    response = Served(archive(mxnet_net, **{"synset.txt": "cat\ndog\n"})).post(picture(IMAGE), "image/png")
    assert (response.status, "7 classes, but its labels name 2" in str(response.error)) == (500, True)


def test_labels_are_split_at_newlines_only(mxnet_net: Path, archive: Archive) -> None:
    names = "".join(f"thing {index}\u2028or \x85 two\r\n" for index in range(7))
    lines = Served(archive(mxnet_net, **{"synset.txt": names})).post(picture(IMAGE), "image/png").json
    assert all(line.endswith("\u2028or \x85 two") for line in lines)

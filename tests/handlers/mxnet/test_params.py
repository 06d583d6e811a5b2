"""Parameter files that MXNet itself has written, mapped instead of read."""

from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.mxnet.params import mapped
from tests.handlers.served import Served

# MXNet looks up names that scipy has moved.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int64")


@pytest.fixture
def params(mxnet: Any, tmp_path: Path) -> Path:
    """Save an array of each type; one byte before them lets the later ones begin anywhere."""
    arrays = {"arg:odd": mxnet.nd.array([1], dtype="uint8")}
    arrays |= {f"arg:{name}": mxnet.nd.array(numpy.arange(6).reshape(2, 3), dtype=name) for name in DTYPES}
    mxnet.nd.save(str(tmp_path / "net-0000.params"), arrays)
    return tmp_path / "net-0000.params"


def test_mapped_arrays_equal_what_mxnet_reads(mxnet: Any, params: Path) -> None:
    arrays = mapped(params)
    read = mxnet.nd.load(str(params))

    assert arrays is not None and arrays.keys() == read.keys()
    for name, array in arrays.items():
        assert array.dtype == read[name].dtype
        assert numpy.array_equal(array, read[name].asnumpy())
        assert array.flags.aligned
        assert numpy.array_equal(mxnet.nd.from_numpy(array).asnumpy(), array)


def test_writes_do_not_reach_the_file(params: Path) -> None:
    before = params.read_bytes()
    arrays = mapped(params)
    assert arrays is not None
    arrays["arg:float32"][:] = 7

    assert params.read_bytes() == before


def test_incomplete_file_is_left_to_mxnet(params: Path) -> None:
    whole = params.read_bytes()
    for end in range(0, len(whole), 7):
        params.write_bytes(whole[:end])
        assert mapped(params) is None
    params.write_bytes(whole + b"\0")
    assert mapped(params) is None


def test_unsupported_arrays_are_left_to_mxnet(mxnet: Any, params: Path) -> None:
    ones = mxnet.nd.ones((3, 3))
    for arrays in ([ones], {"arg:a": ones.tostype("csr")}, {"arg:a": ones.astype("int8")}):
        mxnet.nd.save(str(params), arrays)
        assert mapped(params) is None


def test_network_uses_the_mapped_weights(mxnet_net: Path) -> None:
    served = Served(mxnet_net)

    assert f"{mxnet_net}/net-0000.params" in Path("/proc/self/maps").read_text()
    del served

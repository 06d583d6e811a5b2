"""Triton Inference Server with its Python backend, in explicit control: the program that the package of PyTriton has.

That package has not Triton's backends of PyTorch and ONNX, and asks for no GPU.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.models import Copy
from benchmarks.peers.open_inference import OpenInferencePeer
from benchmarks.peers.peer import Place
from benchmarks.servers import ROOT

_MODEL = Path(__file__).parent / "services" / "triton_model.py"
_CONFIG = """\
name: "{name}"
backend: "python"
input {{ name: "predict" data_type: TYPE_FP32 dims: [ -1, 64 ] }}
output {{ name: "predictions" data_type: TYPE_FP32 dims: [ {dimensions} ] }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""
_DIMENSIONS = {"sklearn": "-1", "torch": "-1, 10"}
_OPTIONS = ("--model-control-mode=explicit", "--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false")


class TritonPeer(OpenInferencePeer):
    name = "triton"
    packages = ("nvidia-pytriton",)
    holds = "explicit control; the Python backend starts a Python process for each model"
    shown_command = f"tritonserver --model-repository FOLDER {_OPTIONS[0]}"

    def command(self, place: Place) -> Sequence[str | Path]:
        program = _package(place) / "tritonserver" / "bin" / "tritonserver"
        folders = [f"--model-repository={place.models_dir}", f"--backend-directory={place.folder / 'backends'}"]
        return [program, *folders, *_OPTIONS, f"--http-port={place.ports[0]}"]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"LD_LIBRARY_PATH": str(_package(place).parent / "nvidia_pytriton.libs")}

    def configure(self, place: Place) -> None:
        """Put the backend together: the package keeps a program for each version of Python apart from it."""
        server = _package(place) / "tritonserver"
        backend = place.folder / "backends" / "python"
        shutil.copytree(server / "backends" / "python", backend)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", backend)

    def prepare(self, place: Place, copy: Copy) -> None:
        folder = copy.folder.parent
        config = _CONFIG.format(name=copy.name, dimensions=_DIMENSIONS[copy.kind.framework])
        (folder / "config.pbtxt").write_text(config)
        (folder / "1").mkdir()
        shutil.copy(_MODEL, folder / "1" / "model.py")
        (folder / "1" / "benchmarks").symlink_to(ROOT / "benchmarks")  # its Python heeds no PYTHONPATH


def _package(place: Place) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return place.python.parent.parent / "lib" / version / "site-packages" / "pytriton"

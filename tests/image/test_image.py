"""The image's metadata and contents."""

import shutil
import tarfile
from pathlib import Path

import pytest

from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, REPOSITORY, built, docker, inspect, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

SKLEARN_LIMIT = 950_000_000  # 903 MB were seen, of which uv takes some 40


def test_labels(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]

    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"


def test_entrypoint_command_port_and_user(image: str) -> None:
    config = inspect(image)["Config"]

    assert config["Entrypoint"] == ["python", "/usr/local/bin/dockerd-entrypoint.py"]
    assert config["Cmd"] == ["serve"]
    assert "8080/tcp" in config["ExposedPorts"]
    assert config.get("User", "") in ("", "root", "0"), "SageMaker requires root"


def test_other_arguments_run_as_a_command(image: str) -> None:
    done = run(image, "python", "-c", "import sys; print('ran', sys.version_info[:2]); sys.exit(3)")

    assert done.returncode == 3
    assert "ran (3, 11)" in done.stdout


def test_unknown_command_is_a_clear_error(image: str) -> None:
    done = run(image, "nosuchcommand")

    assert done.returncode != 0
    assert "nosuchcommand" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_command_line_is_installed(image: str) -> None:
    done = run(image, "polyhost", "--help")

    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


def test_polyhost_check_runs_in_the_image(image: str, models: Path, tmp_path: Path) -> None:
    """Debian's Python 3.11 is older than the newest one, and its tarfile has fewer features."""
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(models / MODEL_NAME / "model" / "model.joblib", "model.joblib")
    done = run(image, "polyhost", "check", "/data/model.tar.gz", options=(f"--volume={tmp_path}:/data:ro",))

    assert done.returncode == 0, done.stdout + done.stderr


def test_polyhost_comes_first_on_the_module_search_path(image: str) -> None:
    code = "import polyhost.handlers, sys; print(polyhost.handlers.__file__, sys.path[1])"
    printed = run(image, "python", "-c", code).stdout

    assert printed.split() == ["/opt/polyhost/polyhost/handlers/__init__.py", "/opt/polyhost"]


def test_modules_are_compiled(image: str) -> None:
    """A cold start reads bytecode: `python -v` prints where each module's code came from."""
    trace = run(image, "python", "-v", "-c", "import polyhost.container.config, mms.context").stderr

    for module in ("container/__pycache__/config", "mms/__pycache__/context"):
        assert any(module in line and "matches" in line for line in trace.splitlines()), module


def test_image_has_no_compiler(image: str) -> None:
    done = run(image, "sh", "-c", "command -v cc gcc g++ clang make; true")

    assert done.stdout == ""


def test_memory_limit_is_read_inside(image: str) -> None:
    code = "from polyhost.cgroup import ControlGroup; print(ControlGroup.current().limit())"
    done = run(image, "python", "-c", code, options=("--memory=2g",))

    assert done.stdout.strip() == str(2 * 1024**3), done.stderr


def test_memory_limit_is_enforced(image: str) -> None:
    allocate = "import sys; data = bytearray(int(sys.argv[1]) << 20); print(len(data))"

    assert run(image, "python", "-c", allocate, "50", options=("--memory=200m",)).returncode == 0
    assert run(image, "python", "-c", allocate, "400", options=("--memory=200m",)).returncode == 137


def test_image_with_scikit_learn_only_is_small(sklearn_image: str) -> None:
    assert inspect(sklearn_image)["Size"] < SKLEARN_LIMIT
    assert run(sklearn_image, "python", "-c", "import sklearn, pandas, joblib").returncode == 0
    assert "No module named 'torch'" in run(sklearn_image, "python", "-c", "import torch").stderr


def test_unknown_framework_is_a_clear_error(engine: None, unique_tag: str) -> None:
    arguments = ["--build-arg=FRAMEWORKS=sklearn keras", f"--tag=polyhost-keras:{unique_tag}"]
    done = docker("build", *arguments, str(REPOSITORY), timeout=BUILD_SECONDS, check=False)

    assert done.returncode != 0
    assert "FRAMEWORKS names 'keras'; give any of: mxnet torch sklearn huggingface" in done.stdout + done.stderr


def test_code_change_keeps_the_layers_of_packages(image: str, unique_tag: str, tmp_path: Path) -> None:
    changed = copy_of_build_context(tmp_path / "context")
    with (changed / "handlers" / "__init__.py").open("a") as module:
        module.write("CHANGED = 'seen in the image'\n")
    with (
        built(f"polyhost-changed:{unique_tag}", changed) as after,
        built(f"polyhost-dependencies:{unique_tag}", changed, "--target=dependencies") as dependencies,
    ):
        packages = layers(dependencies)
        assert layers(image)[: len(packages)] == packages
        assert layers(after)[: len(packages)] == packages
        printed = run(after, "python", "-c", "import polyhost.handlers; print(polyhost.handlers.CHANGED)").stdout
        assert "seen in the image" in printed


def layers(image: str) -> list[str]:
    return list(inspect(image)["RootFS"]["Layers"])


def copy_of_build_context(folder: Path) -> Path:
    folder.mkdir()
    for name in ("polyhost", "container", "handlers", "locks"):
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True)
    (folder / "scripts").mkdir()
    scripts = ("scripts/patch-jar", "scripts/sbom")
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", *scripts, "README.md", "LICENSE", "NOTICE"):
        shutil.copy2(REPOSITORY / name, folder / name)
    return folder

"""scripts/lock, which writes the locks, and locks/install, which installs from them in the image's build."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOWHERE = {"UV_INDEX_URL": "http://127.0.0.1:9/", "UV_HTTP_RETRIES": "0"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt", "scripts/lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")
    return tmp_path


def check(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "scripts" / "lock"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **NOWHERE}, timeout=120)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_locks_are_current_and_an_unreachable_index_is_said(checkout: Path) -> None:
    done = check(checkout)

    assert done.returncode == 0, done.stderr
    assert "no package index answers, so only the files were compared" in done.stderr


def test_new_version_without_a_new_lock_is_an_error(checkout: Path) -> None:
    replace(checkout / "constraints.txt", "\nuvloop==", "\nuvloop==9")
    done = check(checkout)

    assert done.returncode == 1
    assert "locks/serve.txt has uvloop" in done.stderr
    assert "run scripts/lock" in done.stderr


def test_new_requirement_without_a_new_lock_is_an_error(checkout: Path) -> None:
    replace(checkout / "pyproject.toml", 'sklearn = ["scikit-learn",', 'sklearn = ["scikit-learn", "xgboost>=3",')
    done = check(checkout)

    assert done.returncode == 1
    assert "locks/sklearn.txt lacks xgboost, which pyproject.toml asks for" in done.stderr


def test_new_torch_needs_its_own_index(checkout: Path) -> None:
    for file in ("constraints.txt", "locks/torch-cuda.txt"):
        replace(checkout / file, "\ntorch==", "\ntorch==9")
    done = check(checkout)

    assert done.returncode == 1
    assert "locks/torch-cpu.txt has torch" in done.stderr


@pytest.mark.parametrize(
    "line", ["six==1.17.0", "six>=1", "--extra-index-url http://127.0.0.1:9/", "six @ file:///six.whl"]
)
def test_line_without_version_and_hash_is_an_error(checkout: Path, line: str) -> None:
    with (checkout / "locks" / "serve.txt").open("a") as lock:
        lock.write(line + "\n")
    done = check(checkout)

    assert done.returncode == 1
    assert f"a lock has the line {line!r}" in done.stderr


def install(folder: Path, *frameworks: str, **environ: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run locks/install with a pip that only installs PyTorch's CPU build; return its command lines too."""
    python = folder / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(
        f'#!/bin/sh\necho "$*" >>{folder}/calls\n'
        f'case "$*" in *huggingface.txt*) ;; *--no-deps*) exec {sys.executable} "$@" --target {folder}/site;; esac\n'
    )
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TORCH_", "PIP_"))}
    # The machine's own settings could bring indexes and folders.
    kept |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "PIP_CONFIG_FILE": os.devnull, **environ}
    command = [str(ROOT / "locks" / "install"), *frameworks]
    done = subprocess.run(command, capture_output=True, text=True, env=kept, timeout=120)
    calls = folder / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def torch_wheel(folder: Path) -> str:
    """Make a tiny wheel of the locked version; return its hash."""
    version = (ROOT / "locks" / "torch-cpu.txt").read_text().split("torch==")[1].split()[0]
    wheel = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("torch.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return "sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_every_step_of_the_install_asks_for_hashes(tmp_path: Path) -> None:
    done, calls = install(tmp_path, "mxnet", "torch", "sklearn")

    assert done.returncode == 0, done.stderr
    assert [call.split()[2] for call in calls] == ["install", "install", "check"]
    assert all("--require-hashes" in call for call in calls[:-1])
    assert "--no-build-isolation -r serve.txt -r mxnet.txt -r torch.txt -r torch-cuda.txt -r sklearn.txt" in calls[1]


def test_a_function_has_a_lock_of_its_own(tmp_path: Path) -> None:
    done, calls = install(tmp_path, "sklearn", SERVES="lambda")

    assert done.returncode == 0, done.stderr
    assert "--no-build-isolation -r lambda.txt -r sklearn.txt" in calls[1] and "serve.txt" not in calls[1]


def test_torch_index_serves_torch_alone(tmp_path: Path) -> None:
    _, calls = install(tmp_path, "torch", TORCH_INDEX="http://127.0.0.1:9/")

    assert ["127.0.0.1" in call for call in calls] == [False, False, True]
    assert "--no-deps --index-url http://127.0.0.1:9/ -r torch-cpu.txt" in calls[2]
    assert not any("extra-index-url" in call or "torch-cuda" in call for call in calls)


def test_what_needs_torch_comes_after_it(tmp_path: Path) -> None:
    wheel = torch_wheel(tmp_path)
    done, calls = install(tmp_path, "huggingface", TORCH_INDEX=str(tmp_path), TORCH_HASHES=wheel)

    assert done.returncode == 0, done.stderr
    assert "-r torch.txt" in calls[1] and "huggingface" not in calls[1]
    assert "--find-links" in calls[2]
    assert "--require-hashes --no-deps --no-build-isolation -r huggingface.txt" in calls[3]
    (tmp_path / "calls").unlink()
    _, calls = install(tmp_path, "huggingface", "torch")
    assert calls[1].count("-r torch.txt") == calls[1].count("-r torch-cuda.txt") == 1


def test_other_file_of_torch_is_rejected_unless_its_hash_is_given(tmp_path: Path) -> None:
    wheel = torch_wheel(tmp_path)
    rejected, _ = install(tmp_path, "torch", TORCH_INDEX=str(tmp_path))

    assert rejected.returncode != 0
    assert "--build-arg TORCH_HASHES=sha256:..." in rejected.stderr
    assert not (tmp_path / "site" / "torch.py").exists()

    taken, _ = install(tmp_path, "torch", TORCH_INDEX=str(tmp_path), TORCH_HASHES=f"sha256:{'0' * 64} {wheel}")

    assert taken.returncode == 0, taken.stderr
    assert (tmp_path / "site" / "torch.py").exists()


def test_unknown_framework_is_an_error(tmp_path: Path) -> None:
    done, calls = install(tmp_path, "sklearn", "keras")

    assert done.returncode == 1
    assert "FRAMEWORKS names 'keras'; give any of: mxnet torch sklearn huggingface" in done.stderr
    assert calls == []

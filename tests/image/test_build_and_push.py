"""build_and_push.sh with the real aws command, a local AWS, the real docker command and a real registry."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.image.engine import BUILD_SECONDS, docker, inspect, path_with_aws, run, script
from tests.image.registry import missing_for_registry, private_registry

ACCOUNT_OF_THE_LOCAL_AWS = "123456789012"
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environ(aws_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user with credentials only: no settings of this machine's user, no login."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    own = {"PATH": path_with_aws(), "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker")}
    credentials = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**kept, **own, **credentials, "AWS_ENDPOINT_URL": aws_url}


@pytest.mark.image
@pytest.mark.timeout(BUILD_SECONDS)
def test_image_pushed_to_ecr_can_be_pulled_and_run(
    sklearn_image: str, unique_tag: str, ecr: str, environ: dict[str, str], aws_url: str
) -> None:
    """The first push creates the repository and logs docker in with ECR's password; the second one finds both."""
    environ |= {"POLYHOST_REGISTRY": ecr, "AWS_REGION": REGION}
    name = f"team/polyhost-{unique_tag}"
    for tag in ("v1", "v2"):
        full_name = push(f"{name}:{tag}", environ)
        assert full_name == f"{ecr}/{name}:{tag}"
        pull_and_run(full_name, environ)
    assert repositories(aws_url, REGION) == [name]


@pytest.mark.image
@pytest.mark.timeout(BUILD_SECONDS)
def test_other_registry_needs_no_aws(
    sklearn_image: str, unique_tag: str, registry: str, environ: dict[str, str], tmp_path: Path
) -> None:
    environ |= {"POLYHOST_REGISTRY": registry, "POLYHOST_LOGIN": "none"}
    environ["PATH"] = path_of(tmp_path / "bin", "bash", "dirname", "docker")
    full_name = push(f"polyhost-{unique_tag}", environ)

    assert full_name == f"{registry}/polyhost-{unique_tag}:latest"
    pull_and_run(full_name, environ)


@pytest.mark.image
@pytest.mark.timeout(BUILD_SECONDS)
def test_failed_build_pushes_nothing(engine: None, unique_tag: str, environ: dict[str, str], registry: str) -> None:
    environ |= {"POLYHOST_REGISTRY": registry, "POLYHOST_LOGIN": "none"}
    name = f"polyhost-broken-{unique_tag}"
    done = script(name, "--build-arg", "FRAMEWORKS=keras", environ=environ, timeout=BUILD_SECONDS)

    assert done.returncode != 0
    assert done.stdout == ""
    assert httpx.get(f"http://{registry}/v2/{name}/tags/list", trust_env=False).status_code == 404


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    reason = missing_for_registry()
    if reason:
        pytest.skip(reason)
    with private_registry(tmp_path_factory.mktemp("ecr")) as host:
        yield host


@pytest.fixture
def registry() -> str:
    host = os.environ.get("POLYHOST_TEST_REGISTRY", "127.0.0.1:5000")
    try:
        httpx.get(f"http://{host}/v2/", timeout=5, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        pytest.skip(f"no registry answers at {host} (POLYHOST_TEST_REGISTRY): {error}")
    return host


def push(name: str, environ: dict[str, str]) -> str:
    done = script(name, "--build-arg", "FRAMEWORKS=sklearn", environ=environ, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.removesuffix("\n")


def pull_and_run(image: str, environ: dict[str, str]) -> None:
    pushed = inspect(image)["Id"]
    docker("rmi", "--force", "--no-prune", image)
    docker("pull", image, timeout=BUILD_SECONDS, environ=environ)
    try:
        assert inspect(image)["Id"] == pushed
        assert run(image, "python", "-c", "import sklearn; print('runs')").stdout == "runs\n"
    finally:
        docker("rmi", "--force", "--no-prune", image)


def repositories(aws_url: str, region: str) -> list[str]:
    ecr = boto3.client("ecr", region, endpoint_url=aws_url, aws_access_key_id="key", aws_secret_access_key="secret")
    return [found["repositoryName"] for found in ecr.describe_repositories()["repositories"]]


@pytest.fixture
def without_docker(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user who has aws but not docker."""
    return environ | {"PATH": path_of(tmp_path / "bin", "bash", "dirname", "aws")}


def path_of(folder: Path, *commands: str) -> str:
    folder.mkdir()
    for command in commands:
        found = shutil.which(command, path=path_with_aws())
        assert found, command
        (folder / command).symlink_to(found)
    return str(folder)


def test_help_prints_usage() -> None:
    done = script("--help", environ=os.environ)

    assert done.returncode == 0
    assert done.stdout.startswith("Usage: build_and_push.sh")


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        ({}, "ap-northeast-2"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "eu-west-1"}, "eu-west-1"),
    ],
)
def test_image_name_has_account_and_region(
    without_docker: dict[str, str], settings: dict[str, str], region: str
) -> None:
    done = script(environ=without_docker | settings)

    assert f"{ACCOUNT_OF_THE_LOCAL_AWS}.dkr.ecr.{region}.amazonaws.com/polyhost:latest" in done.stderr


def test_region_of_the_users_configuration_is_used(without_docker: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = cn-north-1\n")
    done = script("polyhost:v1", environ=without_docker)

    assert f"{ACCOUNT_OF_THE_LOCAL_AWS}.dkr.ecr.cn-north-1.amazonaws.com.cn/polyhost:v1" in done.stderr


def test_missing_docker_is_a_clear_error(without_docker: dict[str, str]) -> None:
    done = script(environ=without_docker)

    assert (done.returncode, done.stdout) == (1, "")
    assert "'docker' is not on PATH; install Docker" in done.stderr


def test_missing_aws_is_a_clear_error(environ: dict[str, str], tmp_path: Path) -> None:
    done = script(environ=environ | {"PATH": path_of(tmp_path / "bin", "bash", "dirname")})

    assert (done.returncode, done.stdout) == (1, "")
    assert "'aws' is not on PATH; install the AWS CLI" in done.stderr


def test_missing_credentials_are_a_clear_error(environ: dict[str, str]) -> None:
    del environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]
    done = script(environ=environ)

    assert (done.returncode, done.stdout) == (1, "")
    assert "Unable to locate credentials" in done.stderr
    assert "run 'aws configure'" in done.stderr


@pytest.mark.skipif(not shutil.which("docker"), reason="the command 'docker' is not on PATH")
def test_missing_engine_is_a_clear_error(environ: dict[str, str], tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/missing.sock"
    done = script(environ=environ | {"DOCKER_HOST": nowhere})

    assert (done.returncode, done.stdout) == (1, "")
    assert f"no container engine answers at {nowhere}; start Docker, or set DOCKER_HOST" in done.stderr


@pytest.mark.parametrize("name", ["Polyhost", "poly host", "polyhost:", "/polyhost", "poly//host", "polyhost:v1:v2"])
def test_invalid_image_name_is_a_usage_error(environ: dict[str, str], name: str) -> None:
    done = script(name, environ=environ)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"IMAGE_NAME is '{name}'; give NAME or NAME:TAG" in done.stderr


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ("none", "POLYHOST_LOGIN is 'none' but POLYHOST_REGISTRY is not set"),
        ("gcr", "POLYHOST_LOGIN is 'gcr'; give ecr or none"),
    ],
)
def test_invalid_login_is_a_usage_error(environ: dict[str, str], login: str, message: str) -> None:
    done = script(environ=environ | {"POLYHOST_LOGIN": login})

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr

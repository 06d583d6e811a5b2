"""`docker run IMAGE serve` where there is no SageMaker: models by their names, from a folder and from S3."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from examples.demo import digits, train_sklearn, trials
from polyhost.client import PolyhostClient
from polyhost.processes import COMMAND, free_port, running_emulator
from tests.image.engine import BUILD_SECONDS, TIMEOUT_SECONDS, ImageContainer, detached, docker, serving
from tests.image.test_fewer_rights import FEWER_RIGHTS
from tests.support.emulator import boto3_client
from tests.support.model_store import TARGET, says
from tests.support.readme import store_example
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

USERS = {"root": (), "a plain user with fewer rights": FEWER_RIGHTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with what README's example takes of the demo: an archive and a request in build/demo."""
    root = tmp_path_factory.mktemp("readme")
    work, demo = root / "work", root / "build" / "demo"
    for path in (work, demo):
        path.mkdir(parents=True)
    train, held_out = digits.digits()
    train_sklearn.forest(work, train)
    subprocess.run([*COMMAND, "pack", work, "-o", demo / "digits-forest.tar.gz"], check=True, capture_output=True)
    (demo / "digit.csv").write_bytes(trials.csv_row(held_out.x[0]))
    for path in (root, demo):
        path.chmod(0o755)  # a folder that pytest makes is for its owner alone
    return root


def invoke(container: ImageContainer, name: str, body: bytes) -> httpx.Response:
    return container.http.post("/invocations", content=body, headers={TARGET: name, "Content-Type": "text/csv"})


@contextmanager
def on_the_hosts_network(image: str, *options: str) -> Iterator[ImageContainer]:
    """Run a container that reaches servers on this machine's loopback addresses."""
    port = free_port()
    more = ("--network=host", f"--env=SAGEMAKER_BIND_TO_PORT={port}", "--env=POLYHOST_HOST=127.0.0.1", *options)
    url = f"http://127.0.0.1:{port}"
    with (
        detached(image, "serve", options=more) as container,
        PolyhostClient(url, timeout=TIMEOUT_SECONDS, raise_for_status=False) as client,
        httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as http,
    ):
        started = ImageContainer(container, client, http)
        started.wait_until_ready()
        yield started


@pytest.mark.parametrize("user", USERS)
def test_a_mounted_folder_is_served_by_name(front: str, user: str, sklearn_image: str, folder: Path) -> None:
    mount = f"--volume={folder}/build/demo:/opt/ml/models:ro"
    with serving(sklearn_image, mount, f"--env=POLYHOST_FRONTEND={front}", *USERS[user]) as container:
        response = invoke(container, "digits-forest.tar.gz", (folder / "build/demo/digit.csv").read_bytes())
        assert (response.status_code, response.text) == (200, "[5]"), container.logs
        assert container.models() == ["digits-forest.tar.gz"]
        response = invoke(container, "none.tar.gz", b"1")
        assert (response.status_code, response.json()["type"]) == (404, "ModelNotFoundError")


def test_variables_name_another_folder_and_ask_for_the_page(front: str, sklearn_image: str, folder: Path) -> None:
    options = [f"--volume={folder}/build/demo:/srv/models:ro", "--env=POLYHOST_MODEL_STORE=/srv/models"]
    options.append("--env=POLYHOST_PAGE=on")  # its files are in the image, which has no emulator
    with serving(sklearn_image, *options, f"--env=POLYHOST_FRONTEND={front}") as container:
        response = invoke(container, "digits-forest.tar.gz", (folder / "build/demo/digit.csv").read_bytes())
        assert (response.status_code, response.text) == (200, "[5]"), container.logs
        for path in ("", "static/dashboard.js", "static/dashboard.css", "static/icon.svg"):
            assert container.http.get(f"/_polyhost/{path}").status_code == 200, path
        (endpoint,) = container.http.get("/_polyhost/state").json()["endpoints"]
        (model,) = endpoint["variants"][0]["instances"][0]["models"]
        assert model["name"].startswith("digits-forest.tar.gz@") and model["state"] == "loaded"


def test_the_first_example_of_the_readme(sklearn_image: str, folder: Path) -> None:
    example, port = store_example(), free_port()
    url, name = f"http://127.0.0.1:{port}", f"polyhost-readme-{port}"
    command = example.docker(sklearn_image, port).replace("docker run ", f"docker run --detach --name {name} ", 1)
    subprocess.run(["sh", "-ec", command], cwd=folder, check=True, capture_output=True, timeout=120)
    try:
        with PolyhostClient(url) as client:
            wait_for(client.ping, "a response to /ping", 90)
        curl = ["curl", "--silent", "--show-error", "--noproxy", "*", *example.request(url)[1:]]
        done = subprocess.run(curl, cwd=folder, capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.returncode) == ("[5]", 0), done.stderr
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def test_a_prefix_of_the_emulators_s3_is_served(front: str, sklearn_image: str, tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        s3 = boto3_client(emulator.url, "s3")
        s3.create_bucket(Bucket="models")
        s3.put_object(Bucket="models", Key="many/team/a.tar.gz", Body=says("one"))
        variables = {
            "POLYHOST_FRONTEND": front,
            "POLYHOST_MODEL_STORE": "s3://models/many/",
            "POLYHOST_STORE_CHECK_SECONDS": "1",
            **emulator.environ(),
        }
        options = [f"--env={name}={value}" for name, value in variables.items()]
        with on_the_hosts_network(sklearn_image, *options) as container:
            assert invoke(container, "team/a.tar.gz", b"1").text == "one"
            s3.put_object(Bucket="models", Key="many/team/a.tar.gz", Body=says("two"))
            wait_for(lambda: invoke(container, "team/a.tar.gz", b"1").text == "two", "the new version")

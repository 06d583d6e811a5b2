"""Loads and unloads by name; a test plays the fork server and the workers."""

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.container.control_protocol import CloseModel, ModelClosed, OpenModel, WorkerLost
from polyhost.container.errors import Failure
from polyhost.container.native.errors import Rejection
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.served_model import ModelState, ModelTimeouts
from tests.container.native.fork_server_side import ForkServerSide, run_scenario
from tests.support.container import ROOT
from tests.support.waiting import until


def test_overdue_unload_frees_the_name(tmp_path: Path) -> None:
    """Something is left of the model then, and the fork server may report its end later."""

    async def scenario(side: ForkServerSide) -> None:
        await side.load("m")
        (key,) = side.models.open_keys()
        unload = asyncio.create_task(side.models.unload("m"))
        await asyncio.sleep(0)
        second = asyncio.create_task(side.models.unload("m"))
        with pytest.raises(Rejection, match="did not end within"):
            await unload
        with pytest.raises(Rejection, match="not loaded"):
            await second
        assert side.models.open_keys() == [key]

        await side.load("m")
        side.channel.send(ModelClosed(key))
        await until(lambda: key not in side.models.open_keys())
        assert side.models.get("m").loaded

    run_scenario(scenario, tmp_path, timeouts=ModelTimeouts(close=0.1))


def test_load_without_a_reply_reaches_its_deadline(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        load = asyncio.create_task(side.models.load(LoadRequest("m", side.create_directory("m"))))
        await side.next_worker()
        await side.close_model()
        with pytest.raises(Rejection, match="POLYHOST_LOAD_TIMEOUT_SECONDS"):
            await load
        with pytest.raises(Rejection, match="not loaded"):
            side.models.get("m")

    run_scenario(scenario, tmp_path, timeouts=ModelTimeouts(load_grace=0.1), POLYHOST_LOAD_TIMEOUT_SECONDS="1")


def test_load_fails_on_the_fork_servers_word_alone(tmp_path: Path) -> None:
    """It may not even have received the worker's end of the connection."""

    async def scenario(side: ForkServerSide) -> None:
        load = asyncio.create_task(side.models.load(LoadRequest("m", side.create_directory("m"))))
        worker = await side.next_worker()
        failure = Failure(507, "OSError", "Too many open files", "m", "load")
        side.channel.send(WorkerLost(worker.number, failure))
        await side.close_model()
        with pytest.raises(Rejection, match="Too many open files"):
            await load

    run_scenario(scenario, tmp_path)


def test_unload_during_a_load_asks_for_no_worker(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        load = asyncio.create_task(side.models.load(LoadRequest("m", side.create_directory("m"))))
        await asyncio.sleep(0)
        unload = asyncio.create_task(side.models.unload("m"))
        await asyncio.sleep(0)
        messages = [(await side.next_message())[0]]
        while not isinstance(messages[-1], CloseModel):
            messages.append((await side.next_message())[0])
        side.channel.send(ModelClosed(messages[-1].key))
        await unload
        with pytest.raises(Rejection, match="unloaded while it was loading"):
            await load
        assert [type(message) for message in messages] == [OpenModel, CloseModel]
        assert not side.models.open_keys()

    run_scenario(scenario, tmp_path)


@pytest.mark.parametrize("free", range(4))
def test_load_without_a_free_descriptor_is_rejected(tmp_path: Path, free: int) -> None:
    """Wherever it is missing: the connection needs three, the message to the fork server another.

    In a process of its own: in this one threads of other tests may close descriptors meanwhile.
    """
    module, function = __name__, load_without_a_free_descriptor.__name__
    code = f"import pathlib, {module}; {module}.{function}(pathlib.Path({str(tmp_path)!r}), {free})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def load_without_a_free_descriptor(folder: Path, free: int) -> None:
    async def scenario(side: ForkServerSide) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        directory = side.create_directory("m")
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, hard))
        try:
            load = asyncio.create_task(side.models.load(LoadRequest("m", directory)))
            await asyncio.sleep(0)  # it begins
            await until(lambda: side.models.get("m").state is not ModelState.LOADING)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await side.close_model()
        with pytest.raises(Rejection, match="Too many open files"):
            await load

    run_scenario(scenario, folder)


@pytest.mark.parametrize("url", ["models/m", "/", "{models}", "{models}/../x", "{models}/link"])
def test_url_outside_the_models_directory_is_rejected(tmp_path: Path, url: str) -> None:
    async def scenario(side: ForkServerSide) -> None:
        models_dir = side.config.models_dir
        models_dir.mkdir()
        (tmp_path / "x").mkdir()
        (models_dir / "link").symlink_to(tmp_path / "x")
        with pytest.raises(Rejection, match="must lie below"):
            await side.models.load(LoadRequest("m", url.replace("{models}", str(models_dir))))
        assert not side.models.open_keys()

    run_scenario(scenario, tmp_path)


def test_second_load_of_a_name_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        await side.load("m")
        with pytest.raises(Rejection, match="model 'm' is ready already") as rejected:
            await side.models.load(LoadRequest("m", side.create_directory("m")))
        assert rejected.value.failure.code == 409

    run_scenario(scenario, tmp_path)


def test_list_has_pages_of_loaded_models(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        for name in ("c", "a", "b"):
            await side.load(name)
        loading = asyncio.create_task(side.models.load(LoadRequest("d", side.create_directory("d"))))
        await side.next_worker()

        first, more = side.models.list_page("", 2)
        assert ([model.name for model in first], more) == (["a", "b"], True)
        last, more = side.models.list_page("b", 2)
        assert ([model.name for model in last], more) == (["c"], False)
        with pytest.raises(Rejection, match="not loaded"):
            side.models.get_loaded("d")
        loading.cancel()
        await side.close_model()

    run_scenario(scenario, tmp_path)

"""All stacks of an emulator, and the threads that change them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator import aws_clients
from polyhost.emulator.cloudformation import parameters, plan
from polyhost.emulator.cloudformation.calls import EmulatorCalls
from polyhost.emulator.cloudformation.errors import EmulatorStoppingError, ResourceError, StackExists
from polyhost.emulator.cloudformation.stack import Stack, StackSettings, StackStatus
from polyhost.emulator.cloudformation.stack_change import StackChange
from polyhost.emulator.cloudformation.stack_store import StackStore
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError

_THREADS = 16  # changes at a time; further ones wait

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Stacks:
    """Finds stacks, and begins their changes. `url` is the emulator's own, `folder` that of the saved state, if any.

    Its methods are called in the event loop; what may take a while is done in threads.
    """

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self._store = StackStore(folder)
        self._saving = threading.Lock()
        self._stacks = {stack.id: stack for stack in self._store.load()}  # by ID
        for stack in self._stacks.values():
            stack.on_change = self._save
        self._running: dict[str, _Running] = {}  # the last change of each stack, by the ID of the stack
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stack")
        self._clients = lru_cache(None)(lambda service, region: aws_clients.client(service, region, url))

    # Stacks

    def all(self, region: str) -> list[Stack]:
        """Return the stacks of a region, the deleted ones included, the newest first."""
        return [stack for stack in reversed(self._stacks.values()) if stack.region == region]

    def find(self, region: str, name: str, deleted: bool = True) -> Stack | None:
        """Return the stack of this name or ID; a deleted one by its ID only."""
        for stack in self.all(region):
            if stack.id == name and deleted:
                return stack
            if name in (stack.id, stack.name) and stack.status is not StackStatus.DELETE_COMPLETE:
                return stack
        return None

    def get(self, region: str, name: str) -> Stack:
        """Return the stack of this name or ID. Raises ValidationError with AWS's words."""
        stack = self.find(region, name)
        if stack is None:
            raise ValidationError(f"Stack with id {name} does not exist")
        return stack

    def add(self, region: str, name: str) -> Stack:
        """Return a new stack. Raises StackExists."""
        if self.find(region, name, deleted=False) is not None:
            raise StackExists(f"Stack [{name}] already exists")
        stack = Stack(region, name)
        self._stacks[stack.id] = stack
        stack.on_change = self._save
        return stack

    def forget(self, stack: Stack) -> None:
        """Forget a stack of which nothing was made."""
        self._stacks.pop(stack.id, None)

    def exports(self, region: str) -> dict[str, tuple[Stack, str]]:
        """Return the exported values of a region by their names, each with the stack that exports it."""
        return {
            output.export: (stack, output.value)
            for stack in self.all(region)
            for output in stack.outputs
            if output.export
        }

    # Templates

    async def names(self, stack: Stack, template: Template, settings: StackSettings) -> dict[str, Any]:
        """Return the values of parameters and pseudo-parameters. Raises ValidationError."""
        values = await self._in_thread(
            lambda: parameters.resolve(template.parameters, settings.parameters, self._stored(stack.region))
        )
        return {**stack.pseudo_parameters(), **values}

    async def parsed(self, region: str, text: str | None, values: Mapping[str, str]) -> Template:
        """Return a template, transformed with the values of its parameters. Raises ValidationError."""
        return await self._in_thread(lambda: Template.parse(text, values, region))

    async def text(self, region: str, bucket: str, key: str) -> str:
        """Return an object of the emulator's S3. Raises ValidationError."""

        def read() -> str:
            try:
                content: bytes = self._clients("s3", region).get_object(Bucket=bucket, Key=key)["Body"].read()
                return content.decode()
            except (ClientError, BotoCoreError, UnicodeDecodeError) as error:
                raise ValidationError(f"S3 error: cannot read s3://{bucket}/{key}: {error}") from None

        return await self._in_thread(read)

    # Changes

    def create(self, stack: Stack, template: Template, settings: StackSettings, names: dict[str, Any]) -> None:
        """Begin to create a stack."""
        self._begin(stack, StackStatus.CREATE_IN_PROGRESS, lambda change: change.create(template, settings, names))

    def update(self, stack: Stack, template: Template, settings: StackSettings, names: dict[str, Any]) -> None:
        """Begin to update a stack. Raises ValidationError if its status does not allow that."""
        if not stack.status.updatable:
            raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
        plan.check_types(stack, template)
        self._begin(stack, StackStatus.UPDATE_IN_PROGRESS, lambda change: change.update(template, settings, names))

    def delete(self, stack: Stack, retained: list[str]) -> None:
        """Begin to delete a stack; its creation, if it is in progress, is cancelled. Raises ValidationError."""
        if stack.status is StackStatus.DELETE_IN_PROGRESS:
            return
        if stack.status.in_progress and stack.status is not StackStatus.CREATE_IN_PROGRESS:
            raise ValidationError(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
        if stack.protected:
            raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        used = {name for other in self.all(stack.region) if other is not stack for name in other.imports}
        if exported := next((output.export for output in stack.outputs if output.export in used), None):
            users = [other.name for other in self.all(stack.region) if exported in other.imports]
            raise ValidationError(f"Export {exported} cannot be deleted as it is in use by {', '.join(users)}")
        if retained and stack.status is not StackStatus.DELETE_FAILED:
            raise ValidationError("Invalid operation on stack. RetainResources is for stacks in status DELETE_FAILED")
        if unknown := [name for name in retained if name not in stack.resources]:
            raise ValidationError(f"Resources [{', '.join(unknown)}] of RetainResources are not in the stack")
        self.cancel(stack)
        self._begin(stack, StackStatus.DELETE_IN_PROGRESS, lambda change: change.delete(retained))

    def cancel(self, stack: Stack) -> None:
        """Cancel the change that is in progress, if there is one; it is rolled back."""
        if (running := self._running.get(stack.id)) is not None:
            running.aws.cancelled.set()

    def close(self) -> None:
        """End all changes where they are. Blocks until their last calls have ended."""
        self._stopping.set()
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, stack: Stack, status: StackStatus, work: Callable[[StackChange], None]) -> None:
        """Run a change in a thread, after the one in progress; its status counts at once."""
        stack.status = status
        aws = EmulatorCalls(stack.region, lambda service: self._clients(service, stack.region), self._stopping)
        before = self._running.get(stack.id)
        change = _Running(aws)
        self._running[stack.id] = change
        change.future = self._threads.submit(self._run, stack, change, before, work)

    def _run(
        self, stack: Stack, running: "_Running", before: "_Running | None", work: Callable[[StackChange], None]
    ) -> None:
        if before is not None and before.future is not None:
            wait([before.future])
        try:
            work(StackChange(stack, running.aws, lambda name: self._exported(stack, name)))
        except EmulatorStoppingError:
            logger.warning("stack %s: the emulator stops in the middle of a change", stack.name)
        except Exception as error:
            logger.exception("the change of stack %s failed", stack.name)
            stack.become(stack.status.after_failure, f"the emulator failed: {error!r}")

    def _save(self) -> None:
        with self._saving:
            self._store.save(list(self._stacks.values()))

    def _exported(self, stack: Stack, name: str) -> str:
        """Return an exported value. Raises ResourceError."""
        found = self.exports(stack.region).get(name)
        if found is None or found[0] is stack:
            raise ResourceError(f"No export named {name} found")
        return found[1]

    def _stored(self, region: str) -> Callable[[str], str]:
        """Return a function that returns a value of Systems Manager's parameter store."""

        def stored(name: str) -> str:
            try:
                return str(self._clients("ssm", region).get_parameter(Name=name)["Parameter"]["Value"])
            except (ClientError, BotoCoreError) as error:
                raise ValidationError(f"Unable to fetch parameters [{name}] from parameter store: {error}") from None

        return stored

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@dataclass
class _Running:
    """A change of a stack that was begun, and the calls that it makes."""

    aws: EmulatorCalls
    future: Future[None] | None = None

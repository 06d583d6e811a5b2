"""Stacks in a file, so that they outlive the emulator as most of their resources do."""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.stack import (
    Output,
    ResourceStatus,
    Stack,
    StackEvent,
    StackResource,
    StackSettings,
    StackStatus,
)
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import StartError, ValidationError

_ENDED = "The emulator ended in the middle of the change."

logger = logging.getLogger(__name__)


class StackStore:
    """Saves all stacks anew with each change. Without a folder it saves nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "stacks.json" if folder is not None else None

    def load(self) -> list[Stack]:
        """Return the saved stacks; a change that was in progress has failed. Raises StartError."""
        if self._path is None or not self._path.exists():
            return []
        try:
            stacks = [_decode(item) for item in json.loads(self._path.read_text())]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ValidationError) as error:
            raise StartError(
                f"cannot read the saved stacks in {self._path} ({error!r}); fix the file, or choose another --state"
            ) from error
        for stack in stacks:
            if stack.status.in_progress:
                stack.become(stack.status.after_failure, _ENDED)
        return stacks

    def save(self, stacks: Iterable[Stack]) -> None:
        """Write the file anew, in one step, so that a crash cannot leave half of it."""
        if self._path is None:
            return
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            new.write_text(json.dumps([_encode(stack) for stack in stacks]))
            new.replace(self._path)
        except OSError as error:  # such as a full disk: the change goes on
            new.unlink(missing_ok=True)
            logger.error("cannot save the stacks in %s: %s; a restart will lose the last change", self._path, error)


def _encode(stack: Stack) -> dict[str, Any]:
    return {
        "region": stack.region,
        "name": stack.name,
        "id": stack.id,
        "template": stack.template.text if stack.template is not None else None,
        "processed": stack.template.processed if stack.template is not None else None,
        "transforms": stack.template.transforms if stack.template is not None else (),
        "settings": asdict(stack.settings),
        "status": stack.status,
        "reason": stack.reason,
        "times": [_time(at) for at in (stack.created, stack.updated, stack.deleted)],
        "protected": stack.protected,
        "change_set_id": stack.change_set_id,
        "resources": [asdict(item) | {"at": _time(item.at)} for item in list(stack.resources.values())],
        "outputs": [asdict(item) for item in stack.outputs],
        "imports": sorted(stack.imports),
        "events": [asdict(item) | {"at": _time(item.at)} for item in list(stack.events)],
    }


def _decode(item: dict[str, Any]) -> Stack:
    stack = Stack(item["region"], item["name"])
    stack.id = item["id"]
    if item["template"] is not None:
        # Not transformed again: another release of the translator may make other resources of it.
        template = Template.parse(item.get("processed", item["template"]))
        transforms = tuple(item.get("transforms", ()))
        stack.template = replace(template, text=item["template"], transforms=transforms)
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in item["settings"].items()
    }
    stack.settings = StackSettings(**settings)
    stack.status, stack.reason = StackStatus(item["status"]), item["reason"]
    created, stack.updated, stack.deleted = (_datetime(text) for text in item["times"])
    stack.created = created or stack.created
    stack.protected, stack.change_set_id = item["protected"], item["change_set_id"]
    stack.resources = {record["logical_id"]: _resource(record) for record in item["resources"]}
    stack.outputs = [Output(**output) for output in item["outputs"]]
    stack.imports = set(item["imports"])
    stack.events = [StackEvent(**{**event, "at": _datetime(event["at"])}) for event in item["events"]]
    return stack


def _resource(record: dict[str, Any]) -> StackResource:
    given = {"physical": Physical(**record["physical"]), "status": ResourceStatus(record["status"])}
    return StackResource(**{**record, **given, "at": _datetime(record["at"])})


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _datetime(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None

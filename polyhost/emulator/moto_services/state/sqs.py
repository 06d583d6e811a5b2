"""SQS's queues, and the messages in them."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import moto.sqs.urls
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

from polyhost.emulator.moto_services.state import pickles
from polyhost.emulator.moto_services.state.accesses import QueueId, ResourceId, WatchedDict
from polyhost.emulator.moto_services.state.records import Change, Records, Update

_QUEUE, _MESSAGE = "sqs-queue", "sqs-message"  # kinds of records
# Messages have records of their own, the dead letter queue is found by its ARN, and functions end with the emulator.
_NOT_OF_QUEUES = frozenset(
    (
        *("_messages", "_messages_lock", "_pending_messages", "deleted_messages"),
        *("dead_letter_queue", "lambda_event_source_mappings"),
    )
)


class WatchedSQSBackend(SQSBackend):
    """moto's SQS, with queues that are watched."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.queues = WatchedDict(partial(QueueId, account_id, region_name))

    @property
    def _url_module(self) -> Any:  # moto derives it from the class's module
        return moto.sqs.urls


class SqsState:
    """Saves and restores queues and messages."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._saved: dict[QueueId, dict[str, tuple[Any, ...]]] = {}  # what may change of a message, by its ID

    def watch(self) -> None:
        """Have moto use backends that are watched, from now on and for what it holds already."""
        sqs_backends.backend = WatchedSQSBackend
        for account, backends in sqs_backends.items():
            backends.backend = WatchedSQSBackend
            for region, backend in backends.items():
                queues = WatchedDict(partial(QueueId, account, region))
                queues.update(backend.queues)
                backend.queues = queues

    def restore(self) -> None:
        """Give moto what was saved."""
        queues: list[Queue] = []
        for (account, region, name), content in self._records.load(_QUEUE):
            backend = sqs_backends[account][region]
            queue = Queue(name, region, account)  # type: ignore[abstract]  # as moto does
            vars(queue).update(pickles.load(content, backend))
            backend.queues[name] = queue
            queues.append(queue)
            self._saved[QueueId(account, region, name)] = {}
        for queue in queues:
            _find_dead_letter_queue(queue)
        for (account, region, name, message_id), content in self._records.load(_MESSAGE):
            backend = sqs_backends[account][region]
            message = Message(message_id, "")
            vars(message).update(pickles.load(content, backend))
            queue = backend.queues[name]
            queue._messages.append(message)
            if not message.visible:
                queue._pending_messages.add(message)
            self._saved[QueueId(account, region, name)][message_id] = _changeable(message)

    def update(self, resources: Iterable[ResourceId]) -> Update:
        """Return what is to be written for these queues and their dead letter queues, as they are now."""
        queues = {resource for resource in resources if isinstance(resource, QueueId)}
        for resource in list(queues):
            queue = _queue(resource)
            if queue is not None and queue.dead_letter_queue is not None:
                queues.add(resource._replace(name=queue.dead_letter_queue.name))
        changes: list[Change] = []
        saved: dict[QueueId, dict[str, tuple[Any, ...]]] = {}
        for resource in queues:
            queue = _queue(resource)
            messages = {} if queue is None else {message.id: message for message in list(queue._messages)}
            saved[resource] = {name: _changeable(message) for name, message in messages.items()}
            before = self._saved.get(resource, {})
            changes.append(Change(_QUEUE, resource, None if queue is None else _queue_content(queue)))
            changes += [Change(_MESSAGE, (*resource, name), None) for name in before.keys() - messages.keys()]
            changes += [
                Change(_MESSAGE, (*resource, name), pickles.dump(vars(messages[name])))
                for name, state in saved[resource].items()
                if before.get(name) != state
            ]
        return Update(changes, partial(self._saved.update, saved))

    def forget(self) -> None:
        """Forget all messages: moto was reset."""
        self._saved.clear()


def _queue(resource: QueueId) -> Queue | None:
    return sqs_backends[resource.account][resource.region].queues.get(resource.name)


def _queue_content(queue: Queue) -> bytes:
    return pickles.dump({name: value for name, value in vars(queue).items() if name not in _NOT_OF_QUEUES})


def _changeable(message: Message) -> tuple[Any, ...]:
    return (
        message.receipt_handle,
        message.visible_at,
        message.delayed_until,
        message.approximate_receive_count,
    )


def _find_dead_letter_queue(queue: Queue) -> None:
    policy = queue.redrive_policy or {}
    for other in sqs_backends[queue.account_id][queue.region].queues.values():
        if other.queue_arn == policy.get("deadLetterTargetArn"):
            queue.dead_letter_queue = other

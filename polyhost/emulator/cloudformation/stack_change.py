"""The life of a stack: it is created, updated and deleted, and rolled back when that fails."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from polyhost.emulator.cloudformation.calls import EmulatorCalls
from polyhost.emulator.cloudformation.errors import ChangeCancelledError, ResourceError
from polyhost.emulator.cloudformation.functions import TemplateEvaluation
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.plan import compare, declared
from polyhost.emulator.cloudformation.resource_types.registry import RESOURCE_TYPES
from polyhost.emulator.cloudformation.resource_work import ResourceWork
from polyhost.emulator.cloudformation.stack import Output, Stack, StackResource, StackSettings, StackStatus
from polyhost.emulator.cloudformation.template import Declaration, Template
from polyhost.emulator.errors import ValidationError

T = TypeVar("T")


class StackChange:
    """One change of a stack, in a thread of its own. `exported` returns the value of another stack's export."""

    def __init__(self, stack: Stack, aws: EmulatorCalls, exported: Callable[[str], str]) -> None:
        self._aws = aws
        self._stack = stack
        self._exported = exported
        self._work = ResourceWork(stack, aws)

    def create(self, template: Template, settings: StackSettings, names: Mapping[str, Any]) -> None:
        """Make the resources of a new stack; if one fails, do what the settings say."""
        stack = self._stack
        stack.template, stack.settings = template, settings
        if self._aws.cancelled.is_set():
            return
        stack.become(StackStatus.CREATE_IN_PROGRESS, "User Initiated")
        try:
            evaluation = self._make_all(template, names)
            stack.outputs = self._outputs(evaluation, template)
        except ChangeCancelledError:
            pass  # the deletion of the stack cancelled it, and comes next
        except ResourceError as error:
            self._on_failed_creation(error)
        else:
            stack.become(StackStatus.CREATE_COMPLETE)

    def update(self, template: Template, settings: StackSettings, names: Mapping[str, Any]) -> None:
        """Make a stack what a template says; if that fails, make it again what it was."""
        stack = self._stack
        stack.updated = datetime.now(UTC)
        stack.become(StackStatus.UPDATE_IN_PROGRESS, "User Initiated")
        before, former, imports = dict(stack.resources), (stack.template, stack.settings), set(stack.imports)
        try:
            stack.template, stack.settings = template, settings
            evaluation = self._make_all(template, names)
            outputs = self._outputs(evaluation, template)
        except ResourceError as error:
            stack.template, stack.settings = former
            stack.imports = imports
            self._roll_back(before, template, error)
            return
        stack.outputs = outputs
        stack.become(StackStatus.UPDATE_CLEANUP)
        self._clean_up(before, former[0], {item.logical_id for item in declared(template, evaluation)})
        stack.become(StackStatus.UPDATE_COMPLETE)

    def delete(self, retained: Iterable[str] = ()) -> None:
        """Delete a stack with all its resources, apart from those that are retained."""
        stack = self._stack
        stack.become(StackStatus.DELETE_IN_PROGRESS, "User Initiated")
        for name in retained:
            self._work.keep(stack.resources.pop(name))
        self._remove_all(
            StackStatus.DELETE_COMPLETE, StackStatus.DELETE_FAILED, kept=("Retain", "RetainExceptOnCreate")
        )

    def _make_all(self, template: Template, names: Mapping[str, Any]) -> TemplateEvaluation:
        """Make and change resources in the order of their dependencies. Raises ResourceError."""
        self._stack.imports = set()
        evaluation = TemplateEvaluation(template, names, MadeResources(self._stack), self._import)
        wanted = _evaluated(lambda: list(declared(template, evaluation)))
        if unsupported := [item for item in wanted if item.type_name not in RESOURCE_TYPES]:
            for item in unsupported:
                self._work.reject(item, f"The emulator does not support the resource type {item.type_name}.")
            raise ResourceError("a resource type is not supported")
        for declaration in wanted:
            self._make(declaration, evaluation)
        return evaluation

    def _make(self, declaration: Declaration, evaluation: TemplateEvaluation) -> None:
        before = self._stack.resources.get(declaration.logical_id)
        try:
            properties = _evaluated(lambda: evaluation.value(declaration.properties))
        except ResourceError as error:
            self._work.reject(declaration, str(error))
            raise
        change = compare(declaration, before, properties)
        if change is None:
            return
        if before is None:
            self._work.make(declaration, properties)
        elif change.replaces:
            self._work.check_replaceable(before, properties)
            self._work.make(declaration, properties)
        else:
            self._work.change(before, declaration, properties)

    def _import(self, name: str) -> str:
        value = self._exported(name)
        self._stack.imports.add(name)
        return value

    def _outputs(self, evaluation: TemplateEvaluation, template: Template) -> list[Output]:
        def outputs() -> Iterator[Output]:
            for name, item in template.outputs.items():
                if "Condition" not in item or evaluation.condition(item["Condition"]):
                    value, export = (evaluation.value(node) for node in (item["Value"], item.get("Export") or {}))
                    yield Output(name, str(value), str(item.get("Description") or ""), str(export.get("Name", "")))

        return _evaluated(lambda: list(outputs()))

    def _on_failed_creation(self, error: ResourceError) -> None:
        stack, reason = self._stack, self._reason("create", error)
        if stack.settings.on_failure == "DO_NOTHING":
            stack.become(StackStatus.CREATE_FAILED, reason)
            return
        if stack.settings.on_failure == "DELETE":
            stack.become(StackStatus.DELETE_IN_PROGRESS, f"{reason}Delete requested by user.")
            self._remove_all(StackStatus.DELETE_COMPLETE, StackStatus.DELETE_FAILED, kept=("Retain",))
        else:
            stack.become(StackStatus.ROLLBACK_IN_PROGRESS, f"{reason}Rollback requested by user.")
            self._remove_all(StackStatus.ROLLBACK_COMPLETE, StackStatus.ROLLBACK_FAILED, kept=("Retain",))

    def _roll_back(self, before: Mapping[str, StackResource], template: Template, error: ResourceError) -> None:
        """Make the stack again what it was before an update to a template."""
        stack = self._stack
        self._aws.cancelled.clear()
        stack.become(StackStatus.UPDATE_ROLLBACK_IN_PROGRESS, self._reason("update", error))
        superfluous = [
            resource
            for name in template.declarations
            if (resource := stack.resources.get(name)) is not None
            and (name not in before or before[name].physical.id != resource.physical.id)
        ]
        try:
            for name in _order(stack.template, before):
                changed, known = stack.resources[name], before[name]
                if changed.physical.id != known.physical.id:
                    stack.resources[name] = known
                elif changed is not known:
                    self._work.restore(changed, known)
        except ResourceError as failure:
            stack.become(StackStatus.UPDATE_ROLLBACK_FAILED, self._reason("update", failure))
            return
        stack.become(StackStatus.UPDATE_ROLLBACK_CLEANUP)
        for resource in reversed(superfluous):
            self._work.remove(resource)
            if resource.logical_id not in before:
                stack.resources.pop(resource.logical_id)
        stack.become(StackStatus.UPDATE_ROLLBACK_COMPLETE)

    def _clean_up(self, before: Mapping[str, StackResource], former: Template | None, wanted: set[str]) -> None:
        """Delete what an update replaced or removed; what cannot be deleted is no longer the stack's."""
        stack = self._stack
        for name in reversed(_order(former, before)):
            old, removed = before[name], name not in wanted
            if not removed and stack.resources[name].physical.id == old.physical.id:
                continue
            if (old.deletion_policy if removed else old.replace_policy).startswith("Retain"):
                self._work.keep(old)
            else:
                self._work.remove(old)
            if removed:
                stack.resources.pop(name)

    def _remove_all(self, end: StackStatus, failure: StackStatus, kept: tuple[str, ...]) -> None:
        """Delete all resources, each after those that depend on it, apart from those with a policy to keep them."""
        stack, failed = self._stack, []
        for name in reversed(_order(stack.template, stack.resources)):
            resource = stack.resources[name]
            if resource.deletion_policy in kept and resource.physical.id:
                self._work.keep(resource)
                stack.resources.pop(name)
            elif self._work.remove(resource):
                stack.resources.pop(name)
            else:
                failed.append(name)
        if failed:
            stack.become(failure, f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            stack.outputs, stack.imports = [], set()
            stack.become(end)

    def _reason(self, verb: str, error: ResourceError) -> str:
        failed = [name for name, item in self._stack.resources.items() if item.status.value.endswith("_FAILED")]
        if not failed:
            return f"{error}. "
        return f"The following resource(s) failed to {verb}: [{', '.join(failed)}]. "


class MadeResources(Mapping[str, Physical]):
    """The resources of a stack, as far as they are made."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __getitem__(self, name: str) -> Physical:
        return self._stack.resources[name].physical

    def __iter__(self) -> Iterator[str]:
        return iter(self._stack.resources)

    def __len__(self) -> int:
        return len(self._stack.resources)


def _order(template: Template | None, resources: Mapping[str, StackResource]) -> list[str]:
    """Return the resources in the order in which they are made; what is in no template any more comes last."""
    declarations = template.declarations if template is not None else {}
    return [*(name for name in declarations if name in resources), *(resources.keys() - declarations.keys())]


def _evaluated(evaluate: Callable[[], T]) -> T:
    """Evaluate values of a template. Raises ResourceError."""
    try:
        return evaluate()
    except ValidationError as error:
        raise ResourceError(str(error)) from None

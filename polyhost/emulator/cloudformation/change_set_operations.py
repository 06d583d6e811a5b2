"""CloudFormation's operations on change sets."""

from collections.abc import Mapping

from polyhost.emulator.cloudformation import plan
from polyhost.emulator.cloudformation.change_set import ChangeSet, ExecutionStatus
from polyhost.emulator.cloudformation.errors import ChangeSetNotFound, InvalidChangeSetStatus, StackExists
from polyhost.emulator.cloudformation.operations import Members, StackOperation, has_changes
from polyhost.emulator.cloudformation.requests import StackRequest
from polyhost.emulator.cloudformation.stack import Stack, StackStatus
from polyhost.emulator.cloudformation.stacks import Stacks
from polyhost.emulator.errors import ValidationError


class ChangeSetOperations:
    """Operations on change sets, which are ready at once."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._change_sets: dict[str, ChangeSet] = {}  # by ID
        self.operations: Mapping[str, StackOperation] = {
            "CreateChangeSet": self._create,
            "DescribeChangeSet": self._describe,
            "ListChangeSets": self._list,
            "ExecuteChangeSet": self._execute,
            "DeleteChangeSet": self._delete,
        }

    async def _create(self, request: StackRequest) -> Members:
        name, creates = (
            request.checked_name("ChangeSetName"),
            request.members.get("ChangeSetType", "UPDATE") == "CREATE",
        )
        stack = self._stacks.find(request.region, str(request.members["StackName"]), deleted=False)
        if stack is None and not creates:
            raise ValidationError(f"Stack [{request.members['StackName']}] does not exist")
        if creates and stack is not None and stack.status is not StackStatus.REVIEW_IN_PROGRESS:
            raise StackExists(
                f"Stack [{stack.name}] already exists and cannot be created again with the changeSet [{name}]."
            )
        if not creates and stack is not None and not stack.status.updatable:
            raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
        template = await request.template(self._stacks, stack)
        added = stack is None
        stack = stack or self._stacks.add(request.region, request.checked_name("StackName"))
        if any(item.name == name for item in self._of(stack)):
            raise StackExists(f"ChangeSet {name} already exists for stack {stack.id}")
        try:
            settings = request.settings(template, stack)
            names = await self._stacks.names(stack, template, settings)
            changes = plan.foresee(stack, template, names)
        except BaseException:
            if added:
                self._stacks.forget(stack)
            raise
        if added:
            stack.become(StackStatus.REVIEW_IN_PROGRESS, "User Initiated")
        changed = creates or has_changes(stack, template, settings.tags, changes)
        description = str(request.members.get("Description") or "")
        made = ChangeSet(name, stack, creates, description, template, settings, names, changes, changed)
        self._change_sets[made.id] = made
        return {"Id": made.id, "StackId": stack.id}

    async def _describe(self, request: StackRequest) -> Members:
        return self._get(request).members()

    async def _list(self, request: StackRequest) -> Members:
        stack = self._stacks.get(request.region, str(request.members["StackName"]))
        return {"Summaries": [item.summary() for item in self._of(stack)]}

    async def _execute(self, request: StackRequest) -> Members:
        change_set = self._get(request)
        if change_set.execution_status is not ExecutionStatus.AVAILABLE:
            raise InvalidChangeSetStatus(
                f"ChangeSet [{change_set.id}] cannot be executed in its current execution status of"
                f" [{change_set.execution_status}]"
            )
        stack, settings = change_set.stack, change_set.settings
        run = self._stacks.create if change_set.creates else self._stacks.update
        run(stack, change_set.template, settings, change_set.names)
        stack.change_set_id = change_set.id
        for item in self._of(stack):
            item.execution_status = ExecutionStatus.OBSOLETE
        change_set.execution_status = ExecutionStatus.EXECUTED
        return {}

    async def _delete(self, request: StackRequest) -> Members:
        try:
            self._change_sets.pop(self._get(request).id)
        except ChangeSetNotFound:
            pass  # DeleteChangeSet succeeds all the same
        return {}

    def _get(self, request: StackRequest) -> ChangeSet:
        """Return the change set of an ID, or of a name and a stack. Raises ChangeSetNotFound."""
        wanted = str(request.members["ChangeSetName"])
        if wanted in self._change_sets:
            return self._change_sets[wanted]
        stack = self._stacks.find(request.region, str(request.members.get("StackName", "")))
        found = next((item for item in self._of(stack) if item.name == wanted), None) if stack is not None else None
        if found is None:
            raise ChangeSetNotFound(f"ChangeSet [{wanted}] does not exist")
        return found

    def _of(self, stack: Stack) -> list[ChangeSet]:
        return [item for item in self._change_sets.values() if item.stack is stack]

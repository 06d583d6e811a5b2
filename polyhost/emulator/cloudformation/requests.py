"""What clients ask of CloudFormation: their templates and settings, read and checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from polyhost.emulator.cloudformation import parameters, plan
from polyhost.emulator.cloudformation.stack import Stack, StackSettings
from polyhost.emulator.cloudformation.stacks import Stacks
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError
from polyhost.model_cache.model_url import ModelData

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")


@dataclass(frozen=True)
class StackRequest:
    """A request: its region, its members, and whether a waiter sent it."""

    region: str
    members: Mapping[str, Any]
    from_waiter: bool = False

    def checked_name(self, member: str) -> str:
        """Return the name that a new stack or change set is to have. Raises ValidationError."""
        name = str(self.members.get(member, ""))
        if _NAME.fullmatch(name) is None:
            shown = f"{member[0].lower()}{member[1:]}"
            raise ValidationError(
                f"1 validation error detected: Value '{name}' at '{shown}' failed to satisfy constraint: Member must"
                " satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*, with at most 128 characters"
            )
        return name

    async def template(self, stacks: Stacks, stack: Stack | None = None) -> Template:
        """Return the template that a request brings, names, or takes from the stack. Raises ValidationError."""
        body, url = self.members.get("TemplateBody"), self.members.get("TemplateURL")
        if body and url:
            raise ValidationError("You must specify either Template URL or Template Body, but not both.")
        if self.members.get("UsePreviousTemplate"):
            if body or url:
                raise ValidationError("You cannot specify both usePreviousTemplate and Template Body/Template URL.")
            if stack is None or stack.template is None:
                raise ValidationError("There is no previous template to use.")
            body = stack.template.text
        if url:
            body = await stacks.text(self.region, *bucket_and_key(str(url)))
        known = stack.settings.parameters if stack is not None else {}
        values = parameters.given_values(self.members.get("Parameters") or [], known)
        return await stacks.parsed(self.region, body, values)

    def settings(self, template: Template, stack: Stack) -> StackSettings:
        """Return the settings, with those of the stack for what the request leaves out. Raises AwsError."""
        members, known = self.members, stack.settings
        given = parameters.given_values(members.get("Parameters") or [], known.parameters)
        capabilities = tuple(members.get("Capabilities") or ())
        # Change sets show what a transform makes: their creation needs no capability for that.
        plan.check_capabilities(template, capabilities, expands="ChangeSetName" not in members)
        tags = {item["Key"]: item["Value"] for item in members["Tags"]} if "Tags" in members else known.tags
        on_failure = members.get("OnFailure") or members.get("OnStackFailure") or "ROLLBACK"
        return StackSettings(
            parameters.complete(template.parameters, given),
            tags,
            capabilities,
            tuple(members.get("NotificationARNs") or known.notification_arns),
            members.get("RoleARN") or known.role_arn,
            "DO_NOTHING" if members.get("DisableRollback") else on_failure,
        )


def bucket_and_key(url: str) -> tuple[str, str]:
    """Return the bucket and the key of a template's address, on AWS or in the emulator. Raises ValidationError."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "s3"):
        try:
            data = ModelData.parse(url)
        except ValueError:  # not an address of AWS: the emulator's own, as clients with an endpoint URL form it
            bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        else:
            bucket, key = data.bucket or "", data.key
        if bucket and key:
            return bucket, key
    raise ValidationError(
        f"TemplateURL must be an Amazon S3 URL, not {url!r}; use https://s3.REGION.amazonaws.com/BUCKET/KEY."
    )

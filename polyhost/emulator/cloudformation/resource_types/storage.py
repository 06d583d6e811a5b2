"""AWS::S3: buckets and their policies; AWS::KMS: keys and aliases."""

import json
from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType, made

# A bucket's properties with an operation of their own: the operation, and what its member is called.
_SETTINGS = {
    "BucketEncryption": ("PutBucketEncryption", "ServerSideEncryptionConfiguration"),
    "PublicAccessBlockConfiguration": ("PutPublicAccessBlock", "PublicAccessBlockConfiguration"),
    "VersioningConfiguration": ("PutBucketVersioning", "VersioningConfiguration"),
    "LifecycleConfiguration": ("PutBucketLifecycleConfiguration", "LifecycleConfiguration"),
    "Tags": ("PutBucketTagging", "Tagging"),
}
_OF_KEY = (
    *("Description", "KeyUsage", "KeySpec", "MultiRegion", "Origin", "BypassPolicyLockoutSafetyCheck"),
    *("KeyPolicy", "Tags", "EnableKeyRotation", "Enabled", "PendingWindowInDays"),
)


class BucketType(ResourceType):
    type_name = "AWS::S3::Bucket"
    name_property = "BucketName"
    replaced_by = frozenset(("BucketName", "ObjectLockEnabled"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateBucket, and an operation for each setting."""
        if unknown := sorted(properties.keys() - {"BucketName", *_SETTINGS}):
            raise ResourceError(f"The emulator does not support the property {unknown[0]} of AWS::S3::Bucket")
        name = properties["BucketName"]
        members: dict[str, Any] = {"Bucket": name}
        if aws.region != "us-east-1":
            members["CreateBucketConfiguration"] = {"LocationConstraint": aws.region}
        aws.call("s3", "CreateBucket", members)
        attributes = {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{aws.region}.amazonaws.com",
        }
        physical = Physical(name, attributes, name)
        with made(physical):
            self._put_settings(aws, name, properties)
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the settings again."""
        self._put_settings(aws, physical.name, properties)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteBucket, which fails if the bucket has objects."""
        aws.discard("s3", "DeleteBucket", {"Bucket": physical.name})

    @staticmethod
    def _put_settings(aws: Aws, bucket: str, properties: Properties) -> None:
        for name, (operation, member) in _SETTINGS.items():
            if name in properties:
                aws.call("s3", operation, {"Bucket": bucket, member: _setting(name, properties[name])})


def _setting(name: str, value: Any) -> Any:
    """Return a bucket's setting with S3's names, where CloudFormation has others."""
    if name == "Tags":
        return {"TagSet": value}
    if name == "BucketEncryption":
        rules = [
            {("ApplyServerSideEncryptionByDefault" if key.startswith("ServerSide") else key): item}
            for rule in value["ServerSideEncryptionConfiguration"]
            for key, item in rule.items()
        ]
        return {"Rules": rules}
    if name == "LifecycleConfiguration":
        return {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}
    return value


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(rule.keys() - {"Id", "Status", "Prefix", "ExpirationInDays"}):
        raise ResourceError(f"The emulator does not support {unknown[0]} in a rule of LifecycleConfiguration")
    converted: dict[str, Any] = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        converted["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        converted["Expiration"] = {"Days": rule["ExpirationInDays"]}
    return converted


class BucketPolicyType(ResourceType):
    type_name = "AWS::S3::BucketPolicy"
    required = ("Bucket", "PolicyDocument")
    replaced_by = frozenset(("Bucket",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PutBucketPolicy."""
        bucket, document = properties["Bucket"], json.dumps(properties["PolicyDocument"])
        aws.call("s3", "PutBucketPolicy", {"Bucket": bucket, "Policy": document})
        return Physical(bucket)

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the policy again."""
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteBucketPolicy."""
        aws.discard("s3", "DeleteBucketPolicy", {"Bucket": physical.id})


class KeyType(ResourceType):
    """A deleted key is pending deletion, as on AWS."""

    type_name = "AWS::KMS::Key"
    replaced_by = frozenset(("KeySpec", "KeyUsage", "MultiRegion", "Origin"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateKey."""
        if unknown := sorted(properties.keys() - set(_OF_KEY)):
            raise ResourceError(f"Encountered unsupported property {unknown[0]}")
        members = {name: properties[name] for name in _OF_KEY[:6] if name in properties}
        if "KeyPolicy" in properties:
            members["Policy"] = json.dumps(properties["KeyPolicy"])
        members["Tags"] = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties.get("Tags") or []]
        key = aws.call("kms", "CreateKey", members)["KeyMetadata"]
        physical = Physical(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})
        with made(physical):
            self._switch(aws, physical, properties)
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Change the policy, the rotation and whether the key is enabled."""
        if "KeyPolicy" in properties:
            document = json.dumps(properties["KeyPolicy"])
            aws.call("kms", "PutKeyPolicy", {"KeyId": physical.id, "PolicyName": "default", "Policy": document})
        if "Description" in properties:
            aws.call("kms", "UpdateKeyDescription", {"KeyId": physical.id, "Description": properties["Description"]})
        self._switch(aws, physical, properties)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call ScheduleKeyDeletion."""
        days = properties.get("PendingWindowInDays", 30)
        aws.discard("kms", "ScheduleKeyDeletion", {"KeyId": physical.id, "PendingWindowInDays": days})

    @staticmethod
    def _switch(aws: Aws, physical: Physical, properties: Properties) -> None:
        for name, on, off in (
            ("EnableKeyRotation", "EnableKeyRotation", "DisableKeyRotation"),
            ("Enabled", "EnableKey", "DisableKey"),
        ):
            if name in properties:
                wanted = str(properties[name]).lower() == "true"
                aws.call("kms", on if wanted else off, {"KeyId": physical.id})


class KeyAliasType(ResourceType):
    type_name = "AWS::KMS::Alias"
    required = ("AliasName", "TargetKeyId")
    replaced_by = frozenset(("AliasName",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateAlias."""
        aws.call("kms", "CreateAlias", properties)
        return Physical(properties["AliasName"])

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateAlias."""
        aws.call("kms", "UpdateAlias", properties)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteAlias."""
        aws.discard("kms", "DeleteAlias", {"AliasName": physical.id})

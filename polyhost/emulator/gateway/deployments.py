"""Deployments of REST APIs: a stage serves what the API was when it was deployed, until it gets another deployment."""

import copy
from typing import Any, NamedTuple

from moto.apigateway.exceptions import BadRequestException, DeploymentNotFoundException, StageStillActive
from moto.apigateway.models import APIGatewayBackend, Deployment, RestAPI, Stage

_MOTOS_CREATE_DEPLOYMENT = RestAPI.create_deployment
_MOTOS_CREATE_STAGE = RestAPI.create_stage


class DeployedResource(NamedTuple):
    """A path of an API with its methods, as moto has them, by their names."""

    path: str
    id: str
    methods: dict[str, Any]


class DeployedContent(NamedTuple):
    """What a stage serves."""

    resources: list[DeployedResource]
    binary_types: list[str]


def add_deployments() -> None:
    """Have moto keep what is deployed, and check deployments as AWS does."""
    for owner, name, operation in (
        (RestAPI, "create_deployment", _create_deployment),
        (RestAPI, "create_stage", _create_stage),
        (RestAPI, "delete_deployment", _delete_deployment),
        (APIGatewayBackend, "update_stage", _update_stage),
    ):
        setattr(owner, name, operation)


def deployed_content(api: Any, stage: Any) -> DeployedContent:
    """Return what a stage serves; states that were saved before deployments kept it have what the API has now."""
    deployment = api.deployments.get(stage.deployment_id)
    saved: tuple[Any, Any] | None = getattr(deployment, "content", None)
    if saved is None:
        return _content_of(api)
    resources, binary_types = saved
    return DeployedContent([DeployedResource(*item) for item in resources], binary_types)


def _content_of(api: Any) -> DeployedContent:
    resources = [
        DeployedResource(resource.get_path(), resource.id, resource.resource_methods)
        for resource in list(api.resources.values())
    ]
    return DeployedContent(resources, list(api.binaryMediaTypes))


def _create_deployment(api: RestAPI, name: str, description: str, stage_variables: Any = None) -> Deployment:
    before = api.stages.get(name)
    deployment = _MOTOS_CREATE_DEPLOYMENT(api, name, description, stage_variables)
    resources, binary_types = copy.deepcopy(_content_of(api))
    # Plain tuples: only moto's own classes are read back from a state folder.
    deployment.content = ([tuple(item) for item in resources], binary_types)  # type: ignore[attr-defined]
    if before is not None:
        # moto would make the stage anew; on AWS it keeps its settings.
        before.deployment_id = deployment.id
        before.variables = {**before.variables, **(stage_variables or {})}
        api.stages[name] = before
    return deployment


def _create_stage(api: RestAPI, name: str, deployment_id: str, *arguments: Any, **members: Any) -> Stage:
    _check_deployment(api, deployment_id)
    return _MOTOS_CREATE_STAGE(api, name, deployment_id, *arguments, **members)


def _update_stage(backend: APIGatewayBackend, function_id: str, stage_name: str, patch_operations: Any) -> Stage:
    api = backend.get_rest_api(function_id)
    stage = backend.get_stage(function_id, stage_name)
    for operation in patch_operations:
        if operation.get("path") == "/deploymentId":
            _check_deployment(api, operation.get("value"))
    return stage.apply_operations(patch_operations)


def _delete_deployment(api: RestAPI, deployment_id: str) -> Deployment:
    if deployment_id not in api.deployments:
        raise DeploymentNotFoundException()
    # moto looks at the stage that the deployment was made for; that may have another one by now.
    if any(stage.deployment_id == deployment_id for stage in api.stages.values()):
        raise StageStillActive()
    return api.deployments.pop(deployment_id)


def _check_deployment(api: RestAPI, deployment_id: str | None) -> None:
    if deployment_id not in api.deployments:
        raise BadRequestException(f"Deployment id does not exist: {deployment_id}")

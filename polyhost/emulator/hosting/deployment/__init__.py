"""Deployments: an endpoint's change from one fleet to another, by DeploymentConfig."""

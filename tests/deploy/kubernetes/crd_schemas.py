"""Schemas of the custom resources that the chart makes, which no package has: of the fields that it uses, nothing else.

Written from the definitions of Gateway API 1.6, Envoy Gateway 1.9 and the Prometheus operator 0.93. So a field that the
chart begins to use has to be looked up there first.
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_GATEWAY_DURATION: Schema = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
_PROMETHEUS_DURATION: Schema = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema, least: int = 1, most: int = 64) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _resource(kind: str, api_version: str, spec: Schema) -> Schema:
    metadata = _object({"name": _TEXT, "labels": _LABELS}, namespace=_TEXT)
    return _object(
        {"kind": {"const": kind}, "apiVersion": {"const": api_version}, "metadata": metadata, "spec": spec},
    )


_LISTENER = _object(
    {"name": _TEXT, "port": _PORT, "protocol": {"enum": ["HTTP", "HTTPS"]}},
    tls=_object({"mode": {"const": "Terminate"}, "certificateRefs": _list(_object({"kind": _TEXT, "name": _TEXT}))}),
    allowedRoutes=_object({"namespaces": _object({"from": {"enum": ["All", "Same", "Selector", "None"]}})}),
)
_GATEWAY = _object({"gatewayClassName": _TEXT, "listeners": _list(_LISTENER)})

_PATH = _object({"type": {"enum": ["Exact", "PathPrefix"]}, "value": {"type": "string", "pattern": "^/"}})
_RULE = _object(
    {
        "matches": _list(_object({"path": _PATH})),
        "timeouts": _object({"request": _GATEWAY_DURATION}),
        "backendRefs": _list(_object({"name": _TEXT, "port": _PORT}), most=16),
    }
)
_ROUTE = _object(
    {"parentRefs": _list(_object({"name": _TEXT}, namespace=_TEXT), most=32), "rules": _list(_RULE, most=16)},
    hostnames=_list(_TEXT, most=16),
)

_TARGET = _object({"group": _TEXT, "kind": _TEXT, "name": _TEXT})
_HASH = _object({"type": {"const": "Headers"}, "headers": _list(_object({"name": _TEXT}))})
_TRIGGERS = ["connect-failure", "refused-stream", "reset-before-request"]
_COUNT: Schema = {"type": "integer", "minimum": 1}
_CHECK = _object(
    {
        "type": {"const": "HTTP"},
        "interval": _GATEWAY_DURATION,
        "timeout": _GATEWAY_DURATION,
        "unhealthyThreshold": _COUNT,
        "healthyThreshold": _COUNT,
        "http": _object(
            {
                "path": {"type": "string", "minLength": 1, "maxLength": 1024},
                "expectedStatuses": _list({"type": "integer", "minimum": 100, "maximum": 599}),
            }
        ),
    }
)
_TRAFFIC = _object(
    {
        "targetRefs": _list(_TARGET, most=16),
        "loadBalancer": _object({"type": {"const": "ConsistentHash"}, "consistentHash": _HASH}),
        "retry": _object({"numRetries": _COUNT, "retryOn": _object({"triggers": _list({"enum": _TRIGGERS})})}),
        "healthCheck": _object({"active": _CHECK, "panicThreshold": {"type": "integer", "minimum": 0, "maximum": 100}}),
        "circuitBreaker": _object(
            {f"max{what}": _COUNT for what in ("Connections", "PendingRequests", "ParallelRequests", "ParallelRetries")}
        ),
        "timeout": _object(
            {
                "tcp": _object({"connectTimeout": _GATEWAY_DURATION}),
                "http": _object({"connectionIdleTimeout": _GATEWAY_DURATION}),
            }
        ),
        "tcpKeepalive": _object(
            {"idleTime": _GATEWAY_DURATION, "interval": _GATEWAY_DURATION, "probes": _COUNT},
        ),
    }
)

_QUANTITY: Schema = {"type": "string", "pattern": "^[1-9]+[0-9]*([EPTGMK]i|[EPTGMk])?$"}
_CLIENTS = _object(
    {
        "targetRefs": _list(_TARGET, most=16),
        "connection": _object({"bufferLimit": _QUANTITY}),
        "timeout": _object({"http": _object({"streamIdleTimeout": _GATEWAY_DURATION})}),
        "headers": _object({"earlyRequestHeaders": _object({"remove": _list(_TEXT, most=64)})}),
    }
)
_OPERATION = _object(
    {"op": {"const": "add"}, "path": {"type": "string", "pattern": "^/"}, "value": {"type": ["object", "string"]}}
)
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_PATCH = _object(
    {
        "targetRef": _TARGET,
        "type": {"const": "JSONPatch"},
        "jsonPatches": _list(_object({"type": {"const": _CLUSTER}, "name": _TEXT, "operation": _OPERATION})),
    }
)

_SECRET_KEY = _object({"name": _TEXT, "key": _TEXT})
_MONITORED = _object(
    {"port": _TEXT, "path": _TEXT, "interval": _PROMETHEUS_DURATION},
    authorization=_object({"type": _TEXT, "credentials": _SECRET_KEY}),
    metricRelabelings=_list(_object({"action": {"const": "drop"}, "sourceLabels": _list(_TEXT), "regex": _TEXT})),
)
_MONITOR = _object({"selector": _object({"matchLabels": _LABELS}), "endpoints": _list(_MONITORED)})

SCHEMAS: dict[str, Schema] = {
    kind: _resource(kind, api_version, spec)
    for kind, api_version, spec in (
        ("Gateway", "gateway.networking.k8s.io/v1", _GATEWAY),
        ("HTTPRoute", "gateway.networking.k8s.io/v1", _ROUTE),
        ("BackendTrafficPolicy", "gateway.envoyproxy.io/v1alpha1", _TRAFFIC),
        ("ClientTrafficPolicy", "gateway.envoyproxy.io/v1alpha1", _CLIENTS),
        ("EnvoyPatchPolicy", "gateway.envoyproxy.io/v1alpha1", _PATCH),
        ("ServiceMonitor", "monitoring.coreos.com/v1", _MONITOR),
    )
}

"""What the emulator runs: its API, its page, and its work in the background, assembled in one place."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Router

from polyhost.emulator import aws_clients
from polyhost.emulator.alarms.evaluator import AlarmEvaluator
from polyhost.emulator.api.access import AccessPolicy
from polyhost.emulator.api.app import EmulatorApp
from polyhost.emulator.api.async_runtime import AsyncRuntime
from polyhost.emulator.api.control_plane.dispatcher import ControlPlane
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.monitoring import ModelMonitor
from polyhost.emulator.api.control_plane.store import ResourceStore
from polyhost.emulator.api.control_plane.transform_job_registry import TransformJobRegistry
from polyhost.emulator.api.runtime import Runtime
from polyhost.emulator.async_inference.invocation_store import InvocationStore
from polyhost.emulator.async_inference.notifications import Notifier
from polyhost.emulator.async_inference.processor import InvocationProcessor
from polyhost.emulator.async_inference.service import AsyncInference
from polyhost.emulator.autoscaling.service import AutoScaling
from polyhost.emulator.cloudformation.api import CloudFormationApi
from polyhost.emulator.cloudformation.stacks import Stacks
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.data_capture.service import DataCapture
from polyhost.emulator.functions.api import FunctionsApi
from polyhost.emulator.functions.destinations import Destinations
from polyhost.emulator.functions.event_queue import EventQueue
from polyhost.emulator.functions.event_sink import EventSink
from polyhost.emulator.functions.event_source_mappings import EventSourceMappings
from polyhost.emulator.functions.function_logs import FunctionLogs
from polyhost.emulator.functions.images import FunctionImages
from polyhost.emulator.functions.saved_records import SavedRecords
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.gateway.addresses import ApiAddresses
from polyhost.emulator.gateway.apis import Apis
from polyhost.emulator.gateway.function_urls import FunctionUrls
from polyhost.emulator.gateway.http_apis import HttpApis
from polyhost.emulator.gateway.rest_apis import RestApis
from polyhost.emulator.gateway.sites import Sites
from polyhost.emulator.hosting.interfaces import Platform
from polyhost.emulator.http_server import serve_http
from polyhost.emulator.monitoring.analysis import Analysis
from polyhost.emulator.moto_services.app import MotoServices
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.cloudwatch import CloudWatchPublisher, sampling_period
from polyhost.emulator.telemetry.container_logs import ContainerLogPublisher
from polyhost.emulator.telemetry.curves import Curves
from polyhost.emulator.telemetry.prometheus import PrometheusExporter
from polyhost.emulator.telemetry.sampler import InstanceSampler
from polyhost.emulator.ui.dashboard import dashboard_routes
from polyhost.emulator.ui.function_state import function_states
from polyhost.emulator.ui.state_api import StateApi


@asynccontextmanager
async def run_services(
    config: EmulatorConfig,
    platform: Platform,
    invocations: InvocationStore,
    saved: SavedRecords | None,
    s3: aws_clients.S3Clients,
    moto: MotoServices,
    sink: EventSink,
    scaling: AutoScaling,
    listener: socket.socket,
    access: AccessPolicy,
    url: str,
) -> AsyncIterator[None]:
    """Serve the API and the dashboard, publish telemetry, and run the endpoints of the saved state."""
    recorder, faults, scale = platform.recorder, platform.faults, platform.time_scale
    store = ResourceStore(config.state)
    registry = EndpointRegistry(platform, store)
    scaling.attach(registry.find_exact)
    storage = ObjectStorage(s3)
    jobs = TransformJobRegistry(platform, storage, store)
    data_capture = DataCapture(storage, recorder, scale)
    notifier = Notifier(url)
    analysis = Analysis(storage, data_capture, platform.folder)
    monitor = ModelMonitor(store, registry, analysis, recorder, scale, url)
    control_plane = ControlPlane(platform.driver, store, registry, jobs, notifier, monitor.operations)
    processor = InvocationProcessor(storage, notifier, recorder, platform.folder)
    async_inference = AsyncInference(registry.all, invocations, processor, recorder, sampling_period(scale))
    runtime = Runtime(registry, recorder, data_capture, faults, config.timeout_s)
    prometheus = PrometheusExporter(recorder)
    curves = Curves(recorder)
    function_logs = FunctionLogs(url)
    functions = Functions(
        platform.folder, url, config.serverless_idle_s, function_logs.add, FunctionImages.of(platform.driver)
    )
    addresses = ApiAddresses(url)
    state_api = StateApi(
        *(registry.all, async_inference.snapshot, jobs.all, scaling.alarms, recorder, curves, data_capture, faults),
        functions=function_states(functions, addresses),
    )
    own = Router([*state_api.routes(), *prometheus.routes(), *addresses.routes(), *dashboard_routes()])
    async_runtime = AsyncRuntime(registry, async_inference, faults)
    stacks = Stacks(url, config.state)
    events = EventQueue(functions, Destinations(url), scale)
    sink.attach(events.add)
    mappings = EventSourceMappings(functions, url)
    functions_api = FunctionsApi(functions, events, saved, moto, addresses.log_new)
    services = CloudFormationApi(stacks, functions_api)
    app = EmulatorApp(control_plane, runtime, async_runtime, own, services, access)
    apis = Apis(RestApis(functions), HttpApis(functions))
    sites = Sites(apis, FunctionUrls(functions), app, access)
    background = (
        CloudWatchPublisher(recorder, scale),
        scaling.alarms,
        AlarmEvaluator(scaling.alarms, scale),
        scaling,
        ContainerLogPublisher(recorder, url),
        function_logs,
        mappings,
        InstanceSampler(registry.all, jobs.all, recorder, sampling_period(scale)),
        async_inference,
    )
    async with serve_http(sites, listener):
        tasks = [asyncio.create_task(work.run()) for work in background]
        try:
            registry.restore()
            async_inference.restore()
            jobs.restore()
            monitor.restore()
            if saved is not None:
                await asyncio.to_thread(addresses.log_new)
            yield
        finally:
            # Browsers first: their page stays as it is. Stacks' changes make endpoints, and need the API until
            # their last call. Endpoints and jobs before the publishers: what they record while they stop is published.
            state_api.close()
            await asyncio.to_thread(stacks.close)
            control_plane.close()
            await async_inference.close()
            await monitor.close()
            await events.close()
            await functions.close()
            await asyncio.gather(registry.close(), jobs.close())
            await data_capture.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

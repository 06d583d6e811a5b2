"""Requests on their way to models: each gets an id, and is encoded as a worker reads it."""

import itertools
import os

from polyhost.container.native.encoder import encode_invocation, encode_parameters
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Caller, Invocation
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.served_model import ServedModel


class InvocationSender:
    """Makes invocations of requests, and submits them."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._prefix = os.urandom(4).hex().encode()  # request ids of two containers differ

    def send(self, model: ServedModel, request: HttpRequest, exchange: Exchange, caller: Caller) -> None:
        """Submit a request to a model; `caller` gets the response. Raises Rejection."""
        request_id = b"%b-%08x" % (self._prefix, next(self._ids))
        parameters = encode_parameters(request.parameters()) if request.query else b""
        command = encode_invocation(request_id, exchange.encode_headers(), parameters, request.body)
        invocation = exchange.invocation = Invocation(request_id, command, model, caller, request.arrived)
        model.submit(invocation)

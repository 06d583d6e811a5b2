"""The outcome of an asynchronous call, as others get it (Lambda developer guide, invocation-async-retain-records)."""

import json
from dataclasses import dataclass
from typing import Any

from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult, timestamp
from polyhost.emulator.functions.spec import FunctionReference

SUCCESS, EXHAUSTED, TOO_OLD = "Success", "RetriesExhausted", "EventAgeExceeded"


@dataclass(frozen=True)
class EventOutcome:
    """How a call has ended: `condition` is one of the words above, `result` is the last attempt's, if one ran."""

    reference: FunctionReference
    call: FunctionCall
    condition: str
    attempts: int
    result: FunctionResult | None
    version: str

    def record(self) -> dict[str, Any]:
        """Return what a destination gets."""
        context: dict[str, Any] = {
            "requestId": self.call.request_id,
            "functionArn": self.reference.arn if self.reference.qualifier else f"{self.reference.arn}:$LATEST",
            "condition": self.condition,
            "approximateInvokeCount": self.attempts,
        }
        record = {
            "version": "1.0",
            "timestamp": timestamp(),
            "requestContext": context,
            "requestPayload": json.loads(self.call.payload),
        }
        if self.result is not None:
            response: dict[str, Any] = {"statusCode": 200, "executedVersion": self.version}
            if self.result.failed:
                response["functionError"] = "Unhandled"
            record |= {"responseContext": response, "responsePayload": json.loads(self.result.payload or b"null")}
        return record

    def dead_letter_attributes(self) -> dict[str, dict[str, str]]:
        """Return the attributes of the message for a dead-letter queue or topic."""
        message = "the event was too old or throttled for too long"
        if self.result is not None:
            error = json.loads(self.result.payload or b"null")
            message = str(error.get("errorMessage") or "") if isinstance(error, dict) else str(error)
        code = "200" if self.result is not None else "429"
        return {
            "RequestID": {"DataType": "String", "StringValue": self.call.request_id},
            "ErrorCode": {"DataType": "Number", "StringValue": code},
            "ErrorMessage": {"DataType": "String", "StringValue": message[:1024] or "unknown"},
        }

-- The request that wrk sends, and its figures as one line of JSON. BODY_FILE and CONTENT_TYPE are environment variables.
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE")
wrk.headers["X-Amzn-SageMaker-Target-Model"] = os.getenv("TARGET_MODEL") -- for the emulator; nil omits the header
local name, value = (os.getenv("EXTRA_HEADER") or ""):match("^(.-): (.*)$")
if name then wrk.headers[name] = value end
local file = assert(io.open(os.getenv("BODY_FILE"), "rb"))
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}',
        summary.requests, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end

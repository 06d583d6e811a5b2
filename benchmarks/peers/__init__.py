"""polyhost beside other model servers, each in an environment of its own. scripts/bench-peers runs this."""

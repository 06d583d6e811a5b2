"""Model Monitor: schedules whose executions compare captured invocations with a baseline."""

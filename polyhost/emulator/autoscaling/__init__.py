"""Application Auto Scaling of endpoints: policies and schedules that change instances and provisioned concurrency."""

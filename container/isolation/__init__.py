"""The confinement of workers: what the kernel denies a model's process beyond what its user may do.

Nothing here needs privileges. SECURITY.md has the table of threats; docs/configuration.md the settings.
"""

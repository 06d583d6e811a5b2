"""Bundles: folders with models, settings and checksums, which a machine without a network serves."""

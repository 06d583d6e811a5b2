"""Errors of the analysis, whose messages name the thing and the remedy."""


class DriftError(Exception):
    """Data or settings that cannot be analysed."""

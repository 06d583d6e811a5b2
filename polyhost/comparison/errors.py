"""Why variants cannot be compared."""


class ComparisonError(Exception):
    """There is too little to compare, or it cannot be read; the message says what to do."""

"""Errors that a user can correct: printed as one sentence, exit status 1, never a traceback."""


class CommandError(Exception):
    """A command that failed; the message names the thing, its value and the remedy."""

"""The errors that a user can mend: printed as one sentence, exit status 1, never a traceback."""


class CommandError(Exception):
    """What was asked for could not be done; the message names the thing, its value and the remedy."""

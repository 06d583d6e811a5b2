"""What is wrong with the input of a plan."""


class PlanningError(Exception):
    """An input that cannot be used; the message names the thing, its value and the remedy."""


class ModelTooLargeError(PlanningError):
    """A model that no machine of this type can hold."""

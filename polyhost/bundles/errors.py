"""What is wrong with a bundle, or with what it is to be made of."""


class BundleError(Exception):
    """The message names the thing, its value and the remedy."""

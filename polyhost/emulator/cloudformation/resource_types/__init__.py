"""The types of resources that a stack may have, each by calls of the service that it belongs to."""

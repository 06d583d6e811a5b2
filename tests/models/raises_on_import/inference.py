"""Cannot even be imported."""

raise ValueError("this script never works")

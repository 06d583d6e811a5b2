"""A module named like one of polyhost's folders."""

NAME = "my container"

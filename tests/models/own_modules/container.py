"""A module named like one of the server's packages."""

NAME = "my container"

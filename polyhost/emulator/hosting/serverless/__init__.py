"""Serverless variants: containers that come with the calls, and go when they are idle."""

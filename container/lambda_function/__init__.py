"""polyhost as a function of AWS Lambda: its handlers behind Lambda's runtime interface, models from a store.

A deployment package has a module of three lines (deploy/lambda/app.py), whose import is the function's initialization.
"""

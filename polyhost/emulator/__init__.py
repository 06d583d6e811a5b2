"""A local SageMaker hosting service for any AWS client. It knows containers by their HTTP API only.

Empty on purpose: the pytest plugin in this package is imported in every pytest run of an environment with polyhost.
"""

"""A local SageMaker hosting service for any AWS client. Knows containers by their HTTP contract only."""

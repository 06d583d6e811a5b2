"""Which of an endpoint's variants is better, and how certain that is."""

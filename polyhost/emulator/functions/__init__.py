"""Functions of AWS Lambda: moto keeps their records, and this runs them."""

"""API Gateway: moto keeps the records of APIs, and this serves them, with functions behind them."""

"""A model behind an HTTP API with keys, on Lambda and API Gateway: by SAM (README.md), and by boto3 (`__main__`)."""

"""What moto's S3, SQS, SNS, IAM and CloudWatch hold, saved so that it survives the end of the emulator."""

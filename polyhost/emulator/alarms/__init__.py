"""Alarms of CloudWatch: evaluated on the emulator's own metrics, with changes told to SNS."""

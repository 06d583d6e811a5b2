"""CloudFormation's stacks: their resources are made by calls of the emulator's own AWS."""

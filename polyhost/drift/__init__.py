"""Statistics of captured data beside those of a baseline, in the files of SageMaker's Model Monitor."""

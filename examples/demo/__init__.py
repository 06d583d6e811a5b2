"""Five models of four kinds behind one endpoint of the local SageMaker: train, pack, upload, invoke, compare."""

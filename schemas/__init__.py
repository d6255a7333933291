"""The contract that every part imports: schemas, codec, topics and the pure rules of a job."""

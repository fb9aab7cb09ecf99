"""The online learner of a running robot: a separate process that reads a buffer of frames and writes generations."""

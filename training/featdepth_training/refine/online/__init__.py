"""The learner beside a running robot: a process of its own that reads a buffer of frames and writes generations."""

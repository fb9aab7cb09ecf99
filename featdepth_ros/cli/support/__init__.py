"""What verbs share: kinds of arguments, output folders, child processes."""

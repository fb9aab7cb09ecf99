"""Code that several verbs use: argument types, output folders, child processes."""

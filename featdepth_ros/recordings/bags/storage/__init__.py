"""The files of bags: detection, grouping, and reading of stored messages."""

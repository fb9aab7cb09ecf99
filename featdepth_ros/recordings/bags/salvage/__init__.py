"""Reads the intact records of damaged bags."""

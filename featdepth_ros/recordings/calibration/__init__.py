"""Calibration files, extrinsics and stereo rigs."""

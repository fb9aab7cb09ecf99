"""Checks of images and motions before they are used."""

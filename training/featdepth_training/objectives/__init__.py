"""What training minimises: terms with and without truth."""

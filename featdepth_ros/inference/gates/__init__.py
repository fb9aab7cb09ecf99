"""What is asked of a picture and of a motion before either is believed."""

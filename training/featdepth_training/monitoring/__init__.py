"""What a run tells while it goes: figures, pictures, how long it takes."""

"""What the node watches to know whether it tells the truth: clock, frames, how it was started."""

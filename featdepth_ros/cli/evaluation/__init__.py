"""The kinds of ``featdepth eval``: depth, odometry, recording."""

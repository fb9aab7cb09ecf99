"""Outgoing topics beside depth, cloud and odometry: for people, for networks, for costmaps."""

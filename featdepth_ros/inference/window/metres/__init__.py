"""Sources of the map's scale in metres: the network, the road plane, the robot's speed."""

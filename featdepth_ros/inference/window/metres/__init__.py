"""What binds the map's unit to metres: the network, the road plane, the robot's speed."""

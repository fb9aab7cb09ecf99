"""The robot's tree of frames: transforms of other nodes, the camera's mounting, and the node's own transform."""

"""Training of the networks: configuration, data caches, engine. Nothing in `featdepth_ros` imports it but the verbs."""

#!/bin/bash
# Sources ROS (built from source in this base, hence two places) and puts featdepth_ros on its paths.
set -e
for setup in "${ROS_ROOT:-/opt/ros/jazzy}/install/setup.bash" /opt/ros/jazzy/setup.bash; do
    if [ -f "$setup" ]; then
        source "$setup"
        break
    fi
done
export AMENT_PREFIX_PATH=/opt/featdepth:$AMENT_PREFIX_PATH
export PYTHONPATH=/opt/featdepth:$PYTHONPATH
export PATH=/opt/featdepth/bin:$PATH
exec "$@"

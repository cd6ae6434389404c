#!/usr/bin/env bash
# Enter ROS 2, the environment and the workspace, then run the command.
set -eo pipefail
. "/opt/ros/$ROS_DISTRO/setup.bash"
. /ros2_ws/.venv/bin/activate
. /ros2_ws/install/local_setup.bash
exec "$@"

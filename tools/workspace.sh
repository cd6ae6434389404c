# Which ROS 2 the workspace is built on, and in which folders; read by the scripts in this folder and by the Makefile.
#
# SOURCED is yes where a ROS 2 is sourced, which is then used. Else DISTRO comes from wheels: kilted, or what ROS_DISTRO
# asks for. (ROS_DISTRO alone does not say that a ROS 2 is sourced: the Docker images of ROS set it for every process.)
# SUFFIX tells the folders of another distribution from the default's: .venv-jazzy, build-jazzy, install-jazzy.
SOURCED=
IFS=: read -ra prefixes <<<"${AMENT_PREFIX_PATH:-}"
for prefix in "${prefixes[@]}"; do
    # An environment made here has a pyvenv.cfg.
    if [[ -e $prefix/share/ament_index/resource_index/packages/rclpy && ! -e $prefix/pyvenv.cfg ]]; then
        SOURCED=yes
    fi
done
DISTRO=${ROS_DISTRO:-kilted}
SUFFIX=
[[ -n $SOURCED || $DISTRO == kilted ]] || SUFFIX=-$DISTRO

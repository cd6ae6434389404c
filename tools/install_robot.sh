#!/usr/bin/env bash
# Install this package into a ROS 2 workspace, in the steps of docs/ros_installation.md; the containers run the same.
#
#   tools/install_robot.sh [WORKSPACE] [STEP...]     # ~/ros2_ws and all steps where left out: apt pip build
#
# With ROS 2 sourced, or ROS_DISTRO set to one in /opt/ros. TORCH_INDEX=URL takes torch from that package index in place of pip's own.
set -euo pipefail
PACKAGE=$(cd "$(dirname "$0")/.." && pwd)
WORKSPACE=${1:-$HOME/ros2_ws}
STEPS=("${@:2}")
((${#STEPS[@]})) || STEPS=(apt pip build)
VENV=$WORKSPACE/.venv

die() {
    echo "error: $*" >&2
    exit 1
}

# The packages of package.xml that a robot needs; not those of the tests.
install_from_apt() {
    command -v rosdep >/dev/null || die "Expected the command rosdep, found none; install it (apt: python3-rosdep)."
    local sudo=()
    [[ $(id -u) == 0 ]] || sudo=(sudo)
    "${sudo[@]}" apt-get update
    "${sudo[@]}" apt-get install -y --no-install-recommends python3-venv
    compgen -G "/etc/ros/rosdep/sources.list.d/*.list" >/dev/null || "${sudo[@]}" rosdep init
    rosdep update --rosdistro "$ROS_DISTRO"
    rosdep install --from-paths "$PACKAGE" --ignore-src -y --rosdistro "$ROS_DISTRO" -t buildtool -t build -t exec
}

# What apt has not, or too old, in an environment that sees ROS. NumPy 1, since Ubuntu's OpenCV is built against it.
install_from_pip() {
    [[ -e $VENV ]] || python3 -m venv --system-site-packages "$VENV"
    touch "$VENV/COLCON_IGNORE"
    local index=()
    [[ -z ${TORCH_INDEX:-} ]] || index=(--index-url "$TORCH_INDEX")
    "$VENV/bin/pip" install "${index[@]}" "torch>=2.4" "numpy<2"
    "$VENV/bin/pip" install "safetensors>=0.4.2" "rosbags>=0.11.6" "numpy<2"
}

build() {
    [[ -e $VENV/bin/activate ]] || die "Expected the environment $VENV, found none; run the step pip first."
    . "$VENV/bin/activate"
    cd "$WORKSPACE"
    colcon build --base-paths "$PACKAGE" --packages-select erfnet_ros --cmake-args -DBUILD_TESTING=OFF
}

if [[ -z ${AMENT_PREFIX_PATH:-} && -e /opt/ros/${ROS_DISTRO:-}/setup.bash ]]; then
    set +u
    . "/opt/ros/$ROS_DISTRO/setup.bash"
    set -u
fi
[[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} ]] ||
    die "Expected a sourced ROS 2, got none; source /opt/ros/DISTRO/setup.bash and run again."
mkdir -p "$WORKSPACE"
for step in "${STEPS[@]}"; do
    case $step in
    apt) install_from_apt ;;
    pip) install_from_pip ;;
    build) build ;;
    *) die "Expected the steps apt, pip, build, got '$step'." ;;
    esac
done

#!/usr/bin/env bash
# Build the ROS package with colcon, unless nothing that is built or linked has changed. Edits of Python files need no build.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<tools/build.sh
flock 9
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE MAKEFLAGS MAKELEVEL MFLAGS

VENV=$PWD/.venv
LOG=log/build.log
STAMP=install/erfnet_ros/build_key
ENVIRONMENT_STAMP=install/erfnet_ros/environment_key

KEY=$({
    cat "$VENV/erfnet_env" tools/build.sh package.xml CMakeLists.txt msg/*
    find erfnet_ros launch config scripts -name __pycache__ -prune -o -type f -print | LC_ALL=C sort
} | sha256sum | cut -d' ' -f1)
[[ -f $STAMP && $(<"$STAMP") == "$KEY" ]] && exit 0

rm -f "$STAMP"
if ! cmp --silent "$VENV/erfnet_env" "$ENVIRONMENT_STAMP"; then
    # CMake's cache and the generated code belong to another interpreter.
    rm -rf build/erfnet_ros install/erfnet_ros
fi
if [[ -z ${ROS_DISTRO:-} ]]; then
    export CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV
fi
echo "Building the ROS package with colcon."
mkdir -p log
if ! PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV colcon build --paths . --symlink-install \
    --cmake-args "-DPython3_EXECUTABLE=$VENV/bin/python" -DBUILD_TESTING=OFF >"$LOG" 2>&1; then
    tail -n 40 "$LOG" >&2
    echo "error: colcon build failed; the whole output is in $LOG" >&2
    exit 1
fi
# Links to files that are gone.
find install/erfnet_ros -xtype l -delete
cp "$VENV/erfnet_env" "$ENVIRONMENT_STAMP"
echo "$KEY" >"$STAMP"

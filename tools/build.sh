#!/usr/bin/env bash
# Build the ROS package with colcon, unless nothing that is built or linked has changed. Edits of Python files need no build.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/workspace.sh
exec 9<tools/build.sh
flock 9
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE MAKEFLAGS MAKELEVEL MFLAGS

VENV=$PWD/.venv$SUFFIX
BUILD=build$SUFFIX
INSTALL=install$SUFFIX
LOGS=log$SUFFIX
STAMP=$INSTALL/erfnet_ros/build_key
ENVIRONMENT_STAMP=$INSTALL/erfnet_ros/environment_key

KEY=$({
    cat "$VENV/erfnet_env" tools/build.sh package.xml CMakeLists.txt msg/*
    find erfnet_ros launch config scripts -name __pycache__ -prune -o -type f -print | LC_ALL=C sort
} | sha256sum | cut -d' ' -f1)
[[ -f $STAMP && $(<"$STAMP") == "$KEY" ]] && exit 0

rm -f "$STAMP"
if ! cmp --silent "$VENV/erfnet_env" "$ENVIRONMENT_STAMP"; then
    # CMake's cache and the generated code belong to another interpreter.
    rm -rf "$BUILD/erfnet_ros" "$INSTALL/erfnet_ros"
fi
if [[ -z $SOURCED ]]; then
    export CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV
fi
echo "Building the ROS package with colcon."
mkdir -p "$LOGS"
if ! PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV colcon --log-base "$LOGS" build --paths . --symlink-install \
    --build-base "$BUILD" --install-base "$INSTALL" --cmake-args "-DPython3_EXECUTABLE=$VENV/bin/python" -DBUILD_TESTING=OFF >"$LOGS/build.log" 2>&1; then
    tail -n 40 "$LOGS/build.log" >&2
    echo "error: colcon build failed; the whole output is in $LOGS/build.log" >&2
    exit 1
fi
# Links to files that are gone.
find "$INSTALL/erfnet_ros" -xtype l -delete
cp "$VENV/erfnet_env" "$ENVIRONMENT_STAMP"
echo "$KEY" >"$STAMP"

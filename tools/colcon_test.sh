#!/usr/bin/env bash
# Build and test as a build farm does: colcon build, colcon test, colcon test-result, in the environment of `make env`.
#
#   tools/colcon_test.sh [COLCON_TEST_OPTION...]     # --ctest-args -R core: the tests of one folder
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/workspace.sh
VENV=$PWD/.venv$SUFFIX
FOLDERS=(--paths . --build-base build-colcon --install-base install-colcon)
. "$VENV/bin/activate"
if [[ -z $SOURCED ]]; then
    export CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV
fi

colcon --log-base build-colcon/log build "${FOLDERS[@]}" --cmake-force-configure \
    --cmake-args "-DPython3_EXECUTABLE=$VENV/bin/python" -DBUILD_TESTING=ON
set +u
. install-colcon/local_setup.bash
set -u
colcon --log-base build-colcon/log test "${FOLDERS[@]}" --event-handlers console_direct+ "$@"
colcon test-result --test-result-base build-colcon --verbose
if ! compgen -G "build-colcon/erfnet_ros/test_results/erfnet_ros/*.xml" >/dev/null; then
    echo "error: Expected test results, got none; install ament_cmake_pytest (apt: ros-$DISTRO-ament-cmake-pytest)." >&2
    exit 1
fi

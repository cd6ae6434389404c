#!/usr/bin/env bash
# Make .venv (.venv-jazzy for Jazzy's wheels), or leave it as it is where it fits the lock files and the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/workspace.sh
exec 9<tools/setup_env.sh
flock 9
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Without a sourced ROS 2 nothing outside the environment may count as installed.
[[ -n $SOURCED ]] || unset PYTHONPATH

VENV=.venv$SUFFIX
STAMP=$VENV/erfnet_env
LOCK=requirements/lock.txt
WHEELS=requirements/$DISTRO.txt
NO_DEPS=requirements/no_deps.txt

die() {
    echo "error: $*" >&2
    exit 1
}

# Print the interpreter to build on: $PYTHON, else the first that fits; a sourced ROS 2 must be importable from it.
find_python() {
    local candidate base
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3}; do
        # Below an active virtual environment lies the interpreter that outlives it.
        base=$("$candidate" -c "import os, sys; print(os.path.realpath(sys._base_executable))" 2>/dev/null) || continue
        "$base" -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))" || continue
        [[ -z $SOURCED ]] || "$base" -c "import rclpy" 2>/dev/null || continue
        echo "$base"
        return
    done
    if [[ -n $SOURCED ]]; then
        die "Expected a Python 3.10 to 3.13 that imports rclpy of the sourced ROS 2 '$DISTRO', found none;" \
            "install it (apt: ros-$DISTRO-rclpy), source its setup.bash, or name the interpreter: make PYTHON=/usr/bin/python3"
    fi
    die "Expected Python 3.10 to 3.13, got '$("${PYTHON:-python3}" --version 2>/dev/null || echo "no ${PYTHON:-python3}")';" \
        "install it (apt: python3) or name one: make PYTHON=/path/to/python3"
}

# Name everything that is missing at once, with the package that brings it.
check_tools() {
    local missing=()
    "$PYTHON" -c "import venv, ensurepip" 2>/dev/null || missing+=("venv (apt: python3-venv)")
    "$PYTHON" -c "import os, sysconfig as s; os.stat(os.path.join(s.get_paths()['include'], 'Python.h'))" 2>/dev/null ||
        missing+=("Python.h (apt: python3-dev)")
    command -v cmake >/dev/null || missing+=("cmake (apt: cmake)")
    command -v g++ >/dev/null || missing+=("g++ (apt: g++)")
    ((${#missing[@]} == 0)) ||
        die "Expected the tools that build the package with $PYTHON, missing: $(printf '%s; ' "${missing[@]}")install them with apt."
    [[ -n $SOURCED || $(uname -sm) == "Linux x86_64" ]] ||
        die "Expected Linux on x86-64, where ROS 2 comes as wheels, got '$(uname -sm)'; install ROS 2, source its setup.bash and run again."
}

# Install the pinned ROS 2 wheels and everything else.
install_wheels() {
    "$VENV/bin/python" -m pip install --requirement "$WHEELS"
    "$VENV/bin/python" tools/fix_cmake_includes.py
    # What differs between distributions is read from ROS_DISTRO, as a sourced ROS 2 sets it.
    echo "export ROS_DISTRO=$DISTRO" >>"$VENV/bin/activate"
}

# Install what pip has to add to a ROS 2 from apt, and keep the NumPy that ROS was built against.
install_around_ros() {
    local colcon=() constraints=$VENV/constraints.txt requirements=$VENV/requirements.txt
    command -v colcon >/dev/null || colcon=(colcon-core colcon-cmake colcon-ros colcon-bash)
    {
        grep '^torch==' "$LOCK"
        # The pytest plugin of launch_testing fails with pytest 9.
        echo "pytest<9"
        "$VENV/bin/python" -c "import numpy; print(f'numpy=={numpy.__version__}')" 2>/dev/null || true
    } >"$constraints"
    "$VENV/bin/python" - >"$requirements" <<'PYTHON'
import configparser

config = configparser.ConfigParser()
config.read("setup.cfg")
extras = config["options.extras_require"]
# As the lock file: without what requirements/optional_engines.txt has.
wanted = [extras[name] for name in extras if name not in ("openvino", "triton", "view")]
print(config["options"]["install_requires"], *wanted, sep="\n")
PYTHON
    "$VENV/bin/python" -m pip install --constraint "$constraints" --requirement "$requirements" "${colcon[@]}"
}

[[ -n $SOURCED || -f $WHEELS ]] || die "Expected ROS_DISTRO to be kilted or jazzy, which come as wheels, got '$DISTRO';" \
    "install ROS 2 and source it (/opt/ros/$DISTRO/setup.bash), or leave ROS_DISTRO out."
PYTHON=$(find_python)
KEY=$({
    pwd
    echo "$PYTHON ${SOURCED:-wheels} $DISTRO"
    "$PYTHON" -c "import sys; print(sys.version)"
    cat "$LOCK" "$NO_DEPS" tools/setup_env.sh tools/fix_cmake_includes.py
    if [[ -n $SOURCED ]]; then cat setup.cfg; else cat "$WHEELS"; fi
} | sha256sum | cut -d' ' -f1)
[[ -f $STAMP && $(<"$STAMP") == "$KEY" ]] && exit 0

[[ ! -e $VENV || -f $STAMP ]] || die "Expected no $VENV or one made here, got another; move it away and run again."
check_tools
echo "Making the environment $VENV with $PYTHON (a minute or more, this once)."
rm -rf "$VENV"
mkdir "$VENV"
echo incomplete >"$STAMP"
if [[ -n $SOURCED ]]; then
    "$PYTHON" -m venv --system-site-packages "$VENV"
    install_around_ros
else
    "$PYTHON" -m venv "$VENV"
    install_wheels
fi
"$VENV/bin/python" -m pip install --no-deps --requirement "$NO_DEPS"
# Written last and in one step: an environment without it is made anew.
echo "$KEY" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"

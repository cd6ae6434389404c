#!/usr/bin/env bash
# Run the tests that need no ROS with the lowest version of each dependency that setup.cfg allows, in a folder of its own.
# Python 3.10 has these versions; PyTorch's wheel of that age brings CUDA (3 GB to download).
# usage: tools/test_lowest.sh FOLDER [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
python=${2:-python3.10}

"$python" -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet uv
uv() { "$folder/uv/bin/uv" "$@" --python "$folder/env/bin/python"; }
"$folder/uv/bin/uv" venv --quiet --python "$python" "$folder/env"
# PyYAML of that age is built with the Cython of its time.
echo "cython<3" >"$folder/build_constraints.txt"
uv pip install --resolution lowest-direct --build-constraints "$folder/build_constraints.txt" --requirement setup.cfg \
    --extra training --extra onnx --extra fleet --extra test
uv pip install --no-deps --requirement requirements/no_deps.txt
# ONNX, int8 and Triton's interpreter need a newer PyTorch, and a lock that no forked process keeps alive needs a newer
# filelock (docs/compatibility.md).
env -u PYTHONPATH "$folder/env/bin/python" -m pytest -p no:cacheprovider test/core test/models test/data test/inference \
    --ignore=test/inference/tensorrt --ignore=test/inference/pytorch/test_triton_kernels.py \
    -k "not int8 and not onnx and not timed_against and not builder_that_is_killed and not kernels_that_a"

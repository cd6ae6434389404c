#!/usr/bin/env bash
# Build the wheel and the sdist into dist/, check them, and run the command from the wheel in a bare environment.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT"
VENV=$(mktemp -d)
trap 'rm -rf "$VENV" "$SOURCE"' EXIT
# A tree of its own: setuptools would otherwise pack what earlier builds left in build/.
SOURCE=$(mktemp -d)
git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$SOURCE"

python3 -m venv "$VENV/tools"
"$VENV/tools/bin/pip" install --quiet -r requirements/packaging.txt
rm -rf dist
"$VENV/tools/bin/python" -m build --quiet --outdir dist "$SOURCE"
"$VENV/tools/bin/twine" check --strict dist/*

python3 -m venv "$VENV/bare"
"$VENV/bare/bin/pip" install --quiet --constraint requirements/lock.txt dist/*.whl
cd "$VENV"
bare/bin/erfnet --help
bare/bin/erfnet --version
# With the weights that the wheel brings.
bare/bin/erfnet segment "$ROOT/docs/images/street.png" -o masks

#!/usr/bin/env bash
# Build the wheel and the sdist into dist/, check them, and start the command from the wheel in a bare environment.
#
#   tools/check_wheel.sh [PIP_OPTION...]     # --no-deps: without torch and the others, which --help needs none of
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=$(mktemp -d)
trap 'rm -rf "$VENV" "$SOURCE"' EXIT
# A tree of its own: setuptools would otherwise pack what earlier builds left in build/.
SOURCE=$(mktemp -d)
git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$SOURCE"

python3 -m venv "$VENV/tools"
"$VENV/tools/bin/pip" install --quiet -r requirements/packaging.txt
rm -rf dist
"$VENV/tools/bin/python" -m build --outdir dist "$SOURCE"
"$VENV/tools/bin/twine" check --strict dist/*

python3 -m venv "$VENV/bare"
"$VENV/bare/bin/pip" install --quiet "$@" dist/*.whl
cd "$VENV"
bare/bin/erfnet --help
bare/bin/erfnet --version
bare/bin/python - <<'PYTHON'
from pathlib import Path

import erfnet_ros

package = Path(erfnet_ros.__file__).parent
missing = [name for name in ("weights/camvid.safetensors", "weights/README.md") if not (package / name).is_file()]
assert not missing, f"the wheel lacks {missing}"
PYTHON

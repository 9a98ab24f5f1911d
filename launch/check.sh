#!/usr/bin/env bash
# Lint, format and types: seconds. bash launch/check.sh [lint] [types]; what mypy leaves out is in pyproject.toml.
set -euo pipefail
checks="${*:-lint types}"
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt launch/test.txt launch/lint.txt
for check in $checks; do
  case "$check" in
    lint) "$python" -m ruff check . && "$python" -m ruff format --check . ;;
    types) "$python" -m mypy ;;
    *) echo "error: $check: lint or types" >&2; exit 2 ;;
  esac
done

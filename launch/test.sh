#!/usr/bin/env bash
# All tests, on CPU: 8 to 11 minutes on 2 idle cores. Arguments go to pytest: bash launch/test.sh -k planner
# The slower proofs: bash launch/test.sh -m slow
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt launch/test.txt
export JAX_PLATFORMS=cpu
# One process a core; the tests of a file stay together, for they share what they compiled.
exec "$python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"

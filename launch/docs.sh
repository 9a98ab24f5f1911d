#!/usr/bin/env bash
# The site of docs/, in site/: seconds. A link that leads nowhere and a page outside of mkdocs.yml are refused.
# bash launch/docs.sh serve: at a local address, built anew when a page changes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" launch/docs.txt
export NO_MKDOCS_2_WARNING=1 # mkdocs-material is kept up until May 2027; its successor reads mkdocs.yml as it is
exec "$python" -m mkdocs "${@:-build}" --strict

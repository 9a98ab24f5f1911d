# Sourced by the other scripts: goes to the checkout's root and makes $python, a Python with all that is needed.
# Usage: . launch/setup.sh FILE … (lists of requirements). PYTHON=python3.12 chooses the base; VENV=dir the place.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

base="${PYTHON:-python3}"
if ! "$base" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
  echo "error: ${base} is not Python 3.11, 3.12 or 3.13; choose one with PYTHON=python3.12 bash $0" >&2
  exit 2
fi

venv="${VENV:-.venv}"
python="$venv/bin/python"
[ -x "$python" ] || "$base" -m venv "$venv" || exit 1
for list in "$@"; do
  stamp="$venv/installed-$(basename "$list")"
  cmp -s "$list" "$stamp" && continue
  echo "Installing $list into $venv …"
  # Compiling all of jax to bytecode would cost more than compiling what is imported.
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile -r "$list" || exit 1
  cp "$list" "$stamp"
done

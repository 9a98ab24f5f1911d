# Sourced by the other scripts: goes to the checkout's root and makes $python, a Python with all that is needed.
# Usage: . launch/setup.sh [requirements file …]. PYTHON=python3.12 chooses the base; VENV=dir the place.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

base="${PYTHON:-python3}"
if ! "$base" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
  echo "error: ${base} is not Python 3.11, 3.12 or 3.13; choose one with PYTHON=python3.12 bash $0" >&2
  exit 2
fi

venv="${VENV:-.venv}"
python="$venv/bin/python"
wanted="$(cat "$@") $("$base" --version)"
if [ "$wanted" != "$(cat "$venv/installed" 2>/dev/null)" ]; then
  echo "Installing into $venv …"
  rm -rf "$venv"
  "$base" -m venv "$venv" || exit 1
  # Compiling all of jax to bytecode costs more than compiling what is imported.
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile $(printf -- '-r %s ' "$@") || exit 1
  echo "$wanted" > "$venv/installed"
fi

#!/bin/sh
# Make a virtual environment with the first suitable Python: $PYTHON if set, else a usual name.
# Usage: tools/make_venv.sh FOLDER
set -eu

folder=$1
suitable='import sys; sys.exit(sys.version_info < (3, 11))'

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates="python3 python3.13 python3.12 python3.11 python3.14 python"
fi

for candidate in $candidates; do
    if "$candidate" -c "$suitable" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done

if [ -z "${python:-}" ]; then
    echo "Gotong needs Python 3.11 or later; tried: $candidates." >&2
    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

echo "Creating $folder with $("$python" --version) ..."
if ! "$python" -m venv "$folder"; then
    rm -rf "$folder"
    echo "$python cannot create a virtual environment (Debian, Ubuntu: apt install python3-venv)." >&2
    exit 1
fi

#!/bin/sh
# Print a Python that this project can use: the one that is named, else one of this machine, else a 3.12 that uv fetches.
# fairseq has a wheel for 3.12 on x86-64 Linux; elsewhere pip builds it, with a C++ compiler and Python's own headers.
need="Python 3.12, or 3.11 or 3.13 with its headers (python3-dev) and a C++ compiler (g++); with venv (python3-venv)"

suitable() {
    command -v "$1" >/dev/null && "$1" -c '
import ensurepip, os, platform, shutil, sys, sysconfig, venv
version = sys.version_info[:2]
wheel = version == (3, 12) and (sys.platform, platform.machine()) == ("linux", "x86_64")
compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
builds = compiler and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
if not (3, 11) <= version <= (3, 13) or not (wheel or builds):
    sys.exit(1)
print(sys.executable)' 2>/dev/null
}

if [ -n "$1" ]; then
    suitable "$1" || { echo "$1 will not do: make needs $need" >&2; exit 1; }
    exit
fi
for python in python3 python3.12 python3.13 python3.11 python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python3; do
    suitable "$python" && exit
done
uv=$(command -v uv) || {
    folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
    python3 -m pip install --quiet --target "$folder" uv >/dev/null 2>&1
    uv=$folder/bin/uv
}
echo "no fitting Python here: fetching Python 3.12 by uv" >&2
"$uv" python install --quiet 3.12 >/dev/null 2>&1
suitable "$("$uv" python find 3.12 2>/dev/null)" && exit
echo "make found no Python that will do, and uv could fetch none: install $need, or name one: make PYTHON=/path/to/python3.12" >&2
exit 1

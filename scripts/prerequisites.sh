#!/bin/sh
# Says in one sentence what is missing before anything can be built, and how to get it.

missing() {
    echo "showtell: $1 is missing. $2" >&2
    exit 2
}

command -v "${CARGO:-cargo}" >/dev/null 2>&1 ||
    missing "Rust (cargo)" "Install it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
command -v "${CXX:-c++}" >/dev/null 2>&1 ||
    missing "a C++ compiler" "On Debian and Ubuntu: sudo apt-get install g++; on Fedora: sudo dnf install gcc-c++"
command -v "${PYTHON:-python3}" >/dev/null 2>&1 ||
    missing "Python 3" "On Debian and Ubuntu: sudo apt-get install python3 python3-pip; on Fedora: sudo dnf install python3 python3-pip"
"${PYTHON:-python3}" -m pip --version >/dev/null 2>&1 ||
    missing "pip for Python 3" "On Debian and Ubuntu: sudo apt-get install python3-pip; elsewhere: python3 -m ensurepip --user"

#!/usr/bin/env bash
# Makes a Debian package of what `make build` left, in .build-package. The tree stays as it is: dpkg-buildpackage works on
# a copy of what the package is made from. Ends with the package's path.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ -x .build-release/release/haredo ]] || { echo "package: there is no program: make build" >&2; exit 1; }
Scripts/install-packages.sh build-essential debhelper patchelf python3
rm -rf .build-package
mkdir -p .build-package/haredo
cp -a debian Docs LICENSE Makefile README.md Scripts .build-package/haredo
export HAREDO_BUILT=$PWD/.build-release/release
unset MAKEFLAGS MFLAGS MAKELEVEL # they are not for the make in there
(cd .build-package/haredo && dpkg-buildpackage -b -uc -us) >.build-package/log 2>&1 || {
  tail -n 40 .build-package/log >&2
  echo "package: dpkg-buildpackage failed" >&2
  exit 1
}
ls .build-package/haredo_*.deb

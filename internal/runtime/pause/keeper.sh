#!/bin/sh
# Builds proa-keeper, one static file that runs on any distribution, and pause
# beside it: keeper.sh BIN-FOLDER [VERSION]. Needs gcc and libseccomp's static
# library (Debian: libseccomp-dev).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
bin=$(cd "$1" && pwd)
"$here/build.sh" "$bin/pause"
cd "$here/../../.."
CGO_ENABLED=1 go build -trimpath -tags "seccomp,runc_nocriu,netgo,osusergo" \
	-ldflags "-s -w -linkmode external -extldflags -static -X main.version=${2:-dev}" \
	-o "$bin/proa-keeper" ./cmd/proa-keeper

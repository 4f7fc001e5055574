#!/usr/bin/env bash
# Makes dist/proa: one static file with the keeper, pause and the quickstart image inside.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${VERSION:-$(git describe --tags --always --dirty)}
internal/runtime/pause/keeper.sh internal/app/payload "$version"
go run ./cmd/quickstart/generate -o internal/quickstart/quickstart.tar.gz
mkdir -p dist
echo "building dist/proa: without cgo, which takes some minutes the first time" >&2
CGO_ENABLED=0 go build -trimpath -tags release,kustomize_disable_go_plugin_support \
  -ldflags "-s -w -X github.com/proa-project/proa/internal/kit/version.Proa=$version" -o dist/proa ./cmd/proa
ls -lh dist/proa

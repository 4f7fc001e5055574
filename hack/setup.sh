#!/usr/bin/env bash
# Installs what building, running and testing proa takes, and is not there yet.
# Does nothing, quickly, when nothing is missing. Arguments name further commands
# that are packages of their own.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

declare -A package_of=(
  [gcc]=gcc [make]=make [git]=git [ip]=iproute2 [nft]=nftables [docker-registry]=docker-registry
  [nginx]=nginx-light [dbus-daemon]=dbus-daemon
)
for command in "$@"; do package_of[$command]=$command; done
missing=()
for command in "${!package_of[@]}"; do
  command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
done
[ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev)
# ldd fails on a static program, and says so on some systems only in words.
is_static() { ! LC_ALL=C ldd "$1" >/dev/null 2>&1 || LC_ALL=C ldd "$1" 2>&1 | grep -q 'not a dynamic'; }
busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ! is_static "$busybox"; then
  missing+=(busybox-static)
fi

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { say "install by your system's packages: ${missing[*]}"; exit 1; }
  [ "$(id -u)" = 0 ] || { say "run as root (sudo) to install: ${missing[*]}"; exit 1; }
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # The packages' own services are of no use here and would take ports.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

export PATH=$PATH:/usr/local/go/bin
if ! command -v go >/dev/null; then
  say "Go is missing: install Go 1.26 or newer from https://go.dev/dl to /usr/local/go"
  exit 1
fi

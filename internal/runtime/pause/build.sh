#!/bin/sh
# Builds pause, static and without a C library: build.sh OUTPUT. CC chooses the
# compiler, and with it the architecture.
set -eu
cd "$(dirname "$0")"
exec "${CC:-gcc}" -Os -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-pie -no-pie -static -nostdlib -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--build-id=none -Wl,-n -s \
	-o "$1" pause.c

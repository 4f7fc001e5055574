//go:build seccomp

/*
 * libseccomp compiles a filter anew at every start of a container, for 9 ms or
 * more of CPU, and has no notion of one that is compiled already. Here its calls are
 * met on their way (by the linker's --wrap): rules are only written down, and when
 * the program is asked for, one that was compiled of the very same calls is given
 * out. If there is none, libseccomp is told the rules after all, and compiles.
 *
 * Everything that would look at the rules in another way has them told first, so a
 * filter is never without them.
 */

#include "seccomp_cache.h"

#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INIT = 1, ARCH, ATTR, RULE, RULE_EXACT };

struct span {
	const unsigned char *data;
	size_t length;
};

static struct {
	unsigned char *data;
	size_t length, room;
	int lost; /* what is written down is not all: no memory, or a call that is not */
} calls;

static struct span known_calls, known_program;
static int recorder = -1;

/* The filter whose rules wait, and where in calls they begin. */
static scmp_filter_ctx waiting;
static size_t first_rule;

scmp_filter_ctx __real_seccomp_init(uint32_t def_action);
int __real_seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch);
int __real_seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value);
int __real_seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int count, const struct scmp_arg_cmp *args);
int __real_seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int count, const struct scmp_arg_cmp *args);
int __real_seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
int __real_seccomp_export_pfc(const scmp_filter_ctx ctx, int fd);
int __real_seccomp_load(const scmp_filter_ctx ctx);
int __real_seccomp_merge(scmp_filter_ctx dst, scmp_filter_ctx src);
int __real_seccomp_reset(scmp_filter_ctx ctx, uint32_t def_action);
int __real_seccomp_arch_remove(scmp_filter_ctx ctx, uint32_t arch);

int seccomp_cache_use(const void *record, size_t length)
{
	const unsigned char *p = record;
	const size_t head = 8 + 2 * sizeof(uint32_t);
	uint32_t lengths[2];

	if (length < head || memcmp(p, SECCOMP_RECORD_MAGIC, 8) != 0)
		return 0;
	memcpy(lengths, p + 8, sizeof(lengths));
	if (lengths[1] == 0 || length - head != (size_t)lengths[0] + lengths[1])
		return 0;
	known_calls = (struct span){ p + head, lengths[0] };
	known_program = (struct span){ p + head + lengths[0], lengths[1] };
	return 1;
}

void seccomp_cache_record(int fd)
{
	recorder = fd;
}

static void put(const void *data, size_t length)
{
	if (calls.length + length > calls.room) {
		size_t room = 2 * (calls.length + length) + 4096;
		unsigned char *more = realloc(calls.data, room);
		if (more == NULL) {
			calls.lost = 1;
			return;
		}
		calls.data = more;
		calls.room = room;
	}
	memcpy(calls.data + calls.length, data, length);
	calls.length += length;
}

static void note(uint32_t kind, uint32_t a, uint32_t b, uint32_t count, const struct scmp_arg_cmp *args)
{
	uint32_t head[4] = { kind, a, b, count };
	put(head, sizeof(head));
	for (uint32_t i = 0; i < count; i++) {
		uint64_t arg[4] = { args[i].arg, args[i].op, args[i].datum_a, args[i].datum_b };
		put(arg, sizeof(arg));
	}
}

/* tell has libseccomp know the rules that wait. */
static int tell(void)
{
	const unsigned char *p = calls.data + first_rule, *end = calls.data + calls.length;
	scmp_filter_ctx ctx = waiting;

	waiting = NULL;
	if (ctx == NULL)
		return 0;
	while (p < end) {
		uint32_t head[4];
		struct scmp_arg_cmp args[6];
		memcpy(head, p, sizeof(head));
		p += sizeof(head);
		for (uint32_t i = 0; i < head[3]; i++) {
			uint64_t arg[4];
			memcpy(arg, p, sizeof(arg));
			p += sizeof(arg);
			args[i] = (struct scmp_arg_cmp){ (unsigned)arg[0], (enum scmp_compare)arg[1], arg[2], arg[3] };
		}
		int rc = head[0] == RULE ? __real_seccomp_rule_add_array(ctx, head[1], (int)head[2], head[3], args) :
					   __real_seccomp_rule_add_exact_array(ctx, head[1], (int)head[2], head[3], args);
		if (rc < 0)
			return rc;
	}
	return 0;
}

scmp_filter_ctx __wrap_seccomp_init(uint32_t def_action)
{
	tell();
	calls.length = 0;
	calls.lost = 0;
	note(INIT, def_action, 0, 0, NULL);
	return __real_seccomp_init(def_action);
}

int __wrap_seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch)
{
	int rc = tell();
	note(ARCH, arch, 0, 0, NULL);
	return rc < 0 ? rc : __real_seccomp_arch_add(ctx, arch);
}

int __wrap_seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value)
{
	int rc = tell();
	note(ATTR, (uint32_t)attr, value, 0, NULL);
	return rc < 0 ? rc : __real_seccomp_attr_set(ctx, attr, value);
}

/* later tells whether a rule may wait: there is a program that it may be part of,
   and it is the next rule of the one filter that waits, or its first. */
static int later(scmp_filter_ctx ctx, unsigned int count)
{
	if (known_calls.data == NULL || calls.lost || count > 6)
		return 0;
	if (waiting == NULL && calls.length <= known_calls.length && memcmp(calls.data, known_calls.data, calls.length) == 0) {
		waiting = ctx;
		first_rule = calls.length;
	}
	return waiting == ctx;
}

int __wrap_seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int count, const struct scmp_arg_cmp *args)
{
	int wait = later(ctx, count), rc = wait ? 0 : tell();
	note(RULE, action, (uint32_t)syscall, count, args);
	if (wait && calls.lost)
		return -ENOMEM;
	return wait || rc < 0 ? rc : __real_seccomp_rule_add_array(ctx, action, syscall, count, args);
}

int __wrap_seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int count, const struct scmp_arg_cmp *args)
{
	int wait = later(ctx, count), rc = wait ? 0 : tell();
	note(RULE_EXACT, action, (uint32_t)syscall, count, args);
	if (wait && calls.lost)
		return -ENOMEM;
	return wait || rc < 0 ? rc : __real_seccomp_rule_add_exact_array(ctx, action, syscall, count, args);
}

static int write_all(int fd, const void *data, size_t length)
{
	const unsigned char *p = data;
	while (length > 0) {
		ssize_t n = write(fd, p, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

/* record writes a record with the program that libseccomp exports. */
static int record(const scmp_filter_ctx ctx, int fd)
{
	unsigned char program[8 * 4096]; /* the kernel takes no more; a pipe holds it */
	int pipes[2];
	ssize_t n, got = 0;

	if (calls.lost)
		return 0;
	if (pipe(pipes) != 0)
		return -errno;
	int rc = __real_seccomp_export_bpf(ctx, pipes[1]);
	close(pipes[1]);
	while (rc == 0 && (n = read(pipes[0], program + got, sizeof(program) - (size_t)got)) > 0)
		got += n;
	close(pipes[0]);
	if (rc < 0)
		return rc;
	uint32_t lengths[2] = { (uint32_t)calls.length, (uint32_t)got };
	if ((rc = write_all(fd, SECCOMP_RECORD_MAGIC, 8)) == 0 && (rc = write_all(fd, lengths, sizeof(lengths))) == 0 &&
	    (rc = write_all(fd, calls.data, calls.length)) == 0)
		rc = write_all(fd, program, (size_t)got);
	return rc;
}

int __wrap_seccomp_export_bpf(const scmp_filter_ctx ctx, int fd)
{
	if (waiting != NULL && waiting == ctx && !calls.lost && calls.length == known_calls.length &&
	    memcmp(calls.data, known_calls.data, calls.length) == 0)
		return write_all(fd, known_program.data, known_program.length);
	int rc = tell();
	if (rc == 0 && recorder >= 0)
		rc = record(ctx, recorder);
	return rc < 0 ? rc : __real_seccomp_export_bpf(ctx, fd);
}

int __wrap_seccomp_export_pfc(const scmp_filter_ctx ctx, int fd)
{
	int rc = tell();
	return rc < 0 ? rc : __real_seccomp_export_pfc(ctx, fd);
}

int __wrap_seccomp_load(const scmp_filter_ctx ctx)
{
	int rc = tell();
	return rc < 0 ? rc : __real_seccomp_load(ctx);
}

int __wrap_seccomp_merge(scmp_filter_ctx dst, scmp_filter_ctx src)
{
	int rc = tell();
	calls.lost = 1;
	return rc < 0 ? rc : __real_seccomp_merge(dst, src);
}

int __wrap_seccomp_reset(scmp_filter_ctx ctx, uint32_t def_action)
{
	int rc = tell();
	calls.lost = 1;
	return rc < 0 ? rc : __real_seccomp_reset(ctx, def_action);
}

int __wrap_seccomp_arch_remove(scmp_filter_ctx ctx, uint32_t arch)
{
	int rc = tell();
	calls.lost = 1;
	return rc < 0 ? rc : __real_seccomp_arch_remove(ctx, arch);
}

/*
 * pause holds the namespaces of a pod and does nothing else: no libc, a few
 * system calls, then it sleeps for ever. It costs two pages of memory.
 *
 * The keeper clones it into new namespaces (mount always) with these
 * descriptors: 3 and 4 are two ends of a socket in whose queue the keeper parks
 * terminals and stdin pipes, so that they outlive it; pause only keeps them
 * open. 5 is where it says that it is ready (one byte 0), or which step failed
 * (the step's letter) and with which errno.
 *
 * It moves into an empty read-only root and gives up every privilege, because
 * with a shared PID namespace a container may look at it through /proc/1.
 */

typedef unsigned long ulong;

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_close = 3, SYS_rt_sigaction = 13, SYS_pause = 34, SYS_exit = 60, SYS_chdir = 80,
       SYS_setgroups = 116, SYS_setresuid = 117, SYS_setresgid = 119, SYS_pivot_root = 155, SYS_prctl = 157,
       SYS_mount = 165, SYS_umount2 = 166 };
static long sys(long n, long a, long b, long c, long d, long e)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { SYS_umount2 = 39, SYS_mount = 40, SYS_pivot_root = 41, SYS_chdir = 49, SYS_close = 57, SYS_write = 64,
       SYS_ppoll = 73, SYS_exit = 93, SYS_rt_sigaction = 134, SYS_setresuid = 147, SYS_setresgid = 149,
       SYS_setgroups = 159, SYS_prctl = 167 };
static long sys(long n, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#else
#error "pause is not written for this architecture"
#endif

enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REC = 16384, MS_PRIVATE = 1 << 18, MNT_DETACH = 2,
       PR_SET_NAME = 15, PR_CAPBSET_DROP = 24, PR_SET_NO_NEW_PRIVS = 38, SIGCHLD = 17, SIG_IGN = 1,
       READY_FD = 5, NOBODY = 65535 };

static void try(char step, long result)
{
	if (result >= 0)
		return;
	unsigned char report[2] = { (unsigned char)step, (unsigned char)-result };
	sys(SYS_write, READY_FD, (long)report, 2, 0, 0);
	sys(SYS_exit, 1, 0, 0, 0, 0);
}

/* A small user namespace may not map the usual user of a pause. */
static long become(long call)
{
	static const unsigned ids[] = { NOBODY, NOBODY - 1, 1000, 1 };
	long r = -1;
	for (int i = 0; i < 4 && r < 0; i++)
		r = sys(call, ids[i], ids[i], ids[i], 0, 0);
	return r;
}

__attribute__((noreturn, used)) void run(void)
{
	sys(SYS_prctl, PR_SET_NAME, (long)"pause", 0, 0, 0);

	/* Nothing that is mounted here is seen outside, and the other way round. */
	try('p', sys(SYS_mount, (long)"none", (long)"/", 0, MS_REC | MS_PRIVATE, 0));
	/* /proc is the one directory that is always there. */
	try('t', sys(SYS_mount, (long)"none", (long)"/proc", (long)"tmpfs",
		     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, (long)"size=4k,nr_inodes=2,mode=555"));
	try('c', sys(SYS_chdir, (long)"/proc", 0, 0, 0, 0));
	/* The old root lands on top of the new one, and is taken off again. */
	try('r', sys(SYS_pivot_root, (long)".", (long)".", 0, 0, 0));
	try('u', sys(SYS_umount2, (long)".", MNT_DETACH, 0, 0, 0));
	try('d', sys(SYS_chdir, (long)"/", 0, 0, 0, 0));

	try('n', sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	for (long cap = 0; sys(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	try('g', sys(SYS_setgroups, 0, 0, 0, 0, 0));
	try('G', become(SYS_setresgid));
	try('U', become(SYS_setresuid)); /* and with it every capability */

	/* With SIGCHLD ignored the kernel reaps the orphans of a shared PID namespace. */
	struct { ulong handler, flags, restorer, mask; } action = { SIG_IGN, 0, 0, 0 };
	try('s', sys(SYS_rt_sigaction, SIGCHLD, (long)&action, 0, sizeof(action.mask), 0));

	unsigned char ready = 0;
	try('w', sys(SYS_write, READY_FD, (long)&ready, 1, 0, 0));
	sys(SYS_close, READY_FD, 0, 0, 0, 0);
	for (int fd = 0; fd < 3; fd++)
		sys(SYS_close, fd, 0, 0, 0, 0);
	for (;;)
#if defined(__x86_64__)
		sys(SYS_pause, 0, 0, 0, 0, 0);
#else
		sys(SYS_ppoll, 0, 0, 0, 0, 0);
#endif
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall run\n");
#else
__asm__(".globl _start\n_start:\n\tbl run\n");
#endif

#ifndef SECCOMP_CACHE_H
#define SECCOMP_CACHE_H

#include <stddef.h>

/*
 * A record is what libseccomp was told of a filter, call by call, and the program
 * that it made of it:
 *
 *	magic (8 bytes), length of the calls, length of the program (4 bytes each,
 *	in the machine's order), the calls, the program
 */
#define SECCOMP_RECORD_MAGIC "proascmp"

/* Uses the program of a record for a filter that is told the same; the memory is
   the caller's and must stay. Returns whether the record is whole. */
int seccomp_cache_use(const void *record, size_t length);

/* Has the next program that is exported written to a descriptor, as a record. */
void seccomp_cache_record(int fd);

#endif

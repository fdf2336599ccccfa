/* What a power cut takes: everything that was written and not synced may be lost, in whole or in part, and in any order. */
#ifndef POWER_H
#define POWER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Tells of what is about to be done. */
void power_write(int fd, off_t offset, size_t length);
void power_resize(int fd, off_t length);
void power_name(const char *made, const char *before, const char *removed);

/* A sync begins; the value goes to its end, once it has been done. */
uint64_t power_sync_begins(void);
void power_synced(int fd, uint64_t begin);

/* Takes back what was not synced, as the seed says. The process must not do anything any more. */
void power_cut(uint64_t seed);

void power_start(const char *aside);

#endif

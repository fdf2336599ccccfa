/* A log of what was there before each write that was not synced; a power cut takes some of them back.
 *
 * Data comes back or stays by sectors, each on its own. Names and sizes are journalled by file systems: of them the last ones, from
 * some moment on, are taken back. A name is certain once its folder is synced, all else once the file is.
 */
#define _GNU_SOURCE
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in faults.c: the mark of our own calls. */
#define PASS 0x0D071125
#define CALL(number, a, b, c, d, e) syscall(number, a, b, c, d, e, PASS)

enum kind { GONE, DATA, SIZE, MADE, RENAMED, REMOVED };

struct entry {
    enum kind kind;
    uint64_t serial;
    ino_t file;
    int fd; /* our own, kept open */
    off_t offset;
    size_t length;
    unsigned char *before;
    char name[256], other[256], aside[256];
};

#define ENTRIES 65536
#define MEMORY ((size_t)1 << 30)
#define SECTOR 512

static struct entry *entries;
static size_t count;
static unsigned char *memory;
static size_t used;
static uint64_t serial;
static char folder_aside[128];
static int lock_word;

static void lock(void) {
    while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) sched_yield();
}

static void unlock(void) { __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE); }

static void fail(const char *what) {
    dprintf(2, "power: %s: %s\n", what, strerror(errno));
    _exit(99);
}

void power_start(const char *aside) {
    if ((size_t)snprintf(folder_aside, sizeof folder_aside, "%s", aside) >= sizeof folder_aside) fail("a long name");
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    entries = mmap(NULL, sizeof(struct entry) * ENTRIES, PROT_READ | PROT_WRITE, flags, -1, 0);
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (entries == MAP_FAILED || memory == MAP_FAILED) fail("mmap");
}

/* Our own descriptors, one for each file that has entries. */
static struct { ino_t file; int fd; } files[1024];

static int own_fd(int fd, ino_t file) {
    size_t free = 0;
    for (size_t i = 1; i < 1024; i++) {
        if (files[i].fd && files[i].file == file) return files[i].fd;
        if (!files[i].fd && !free) free = i;
    }
    if (!free) fail("too many files");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = (int)CALL(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0, 0);
    if (own < 0) fail("open");
    files[free].file = file;
    files[free].fd = own;
    return own;
}

static struct entry *add(enum kind kind) {
    if (count == ENTRIES) fail("too many entries");
    struct entry *entry = &entries[count++];
    memset(entry, 0, sizeof *entry);
    entry->kind = kind;
    entry->serial = ++serial;
    return entry;
}

static void keep(struct entry *entry, int fd, off_t offset, size_t length) {
    struct stat stat;
    if (fstat(fd, &stat) < 0) fail("fstat");
    entry->file = stat.st_ino;
    entry->fd = own_fd(fd, stat.st_ino);
    entry->offset = offset;
    if (offset >= stat.st_size) return;
    size_t there = (size_t)(stat.st_size - offset);
    entry->length = length < there ? length : there;
    if (used + entry->length > MEMORY) fail("too much to remember");
    entry->before = memory + used;
    used += entry->length;
    if (pread(entry->fd, entry->before, entry->length, offset) != (ssize_t)entry->length) fail("pread");
}

void power_write(int fd, off_t offset, size_t length) {
    lock();
    struct stat stat;
    if (fstat(fd, &stat) < 0) fail("fstat");
    if (offset + (off_t)length > stat.st_size) {
        struct entry *size = add(SIZE);
        keep(size, fd, stat.st_size, 0);
    }
    keep(add(DATA), fd, offset, length);
    unlock();
}

void power_resize(int fd, off_t length) {
    lock();
    struct stat stat;
    if (fstat(fd, &stat) < 0) fail("fstat");
    struct entry *entry = add(SIZE);
    if (length < stat.st_size) {
        keep(entry, fd, length, (size_t)(stat.st_size - length));
    }
    entry->file = stat.st_ino;
    entry->fd = own_fd(fd, stat.st_ino);
    entry->offset = stat.st_size - (off_t)entry->length;
    unlock();
}

void power_name(const char *made, const char *before, const char *removed) {
    lock();
    struct entry *entry = add(before ? RENAMED : removed ? REMOVED : MADE);
    const char *lost = before ? made : removed;
    if (made) snprintf(entry->name, sizeof entry->name, "%s", made);
    if (before) snprintf(entry->other, sizeof entry->other, "%s", before);
    if (removed) snprintf(entry->name, sizeof entry->name, "%s", removed);
    if (lost && access(lost, F_OK) == 0) {
        snprintf(entry->aside, sizeof entry->aside, "%s/%d.%llu", folder_aside, getpid(), (unsigned long long)entry->serial);
        if (link(lost, entry->aside) < 0) fail("link");
    }
    unlock();
}

uint64_t power_sync_begins(void) { return __atomic_load_n(&serial, __ATOMIC_SEQ_CST); }

void power_synced(int fd, uint64_t begin) {
    struct stat stat;
    lock();
    if (fstat(fd, &stat) < 0) fail("fstat");
    int is_live = 0;
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = &entries[i];
        int is_name = entry->kind >= MADE;
        int is_meant = S_ISDIR(stat.st_mode) ? is_name : !is_name && entry->file == stat.st_ino;
        if (is_meant && entry->serial <= begin) {
            if (entry->aside[0]) unlink(entry->aside);
            entry->kind = GONE;
        }
        is_live |= entry->kind != GONE;
    }
    if (!is_live) {
        count = used = 0;
        for (size_t i = 1; i < 1024; i++) {
            if (files[i].fd) close(files[i].fd);
            files[i].fd = 0;
        }
    }
    unlock();
}

static uint64_t state;

static uint64_t dice(void) {
    uint64_t value = state += 0x9E3779B97F4A7C15u;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

/* Takes back some sectors of a write, all of them or none. */
static void take_back_data(const struct entry *entry) {
    uint64_t mood = dice() % 3;
    if (mood == 0) return;
    for (size_t done = 0; done < entry->length;) {
        size_t to_boundary = SECTOR - (size_t)((entry->offset + (off_t)done) % SECTOR);
        size_t length = entry->length - done < to_boundary ? entry->length - done : to_boundary;
        if (mood == 1 || dice() % 2) {
            CALL(SYS_pwrite64, entry->fd, entry->before + done, length, entry->offset + (off_t)done, 0);
        }
        done += length;
    }
}

static void take_back_metadata(const struct entry *entry) {
    switch (entry->kind) {
    case SIZE:
        CALL(SYS_ftruncate, entry->fd, entry->offset + (off_t)entry->length, 0, 0, 0);
        if (entry->length) CALL(SYS_pwrite64, entry->fd, entry->before, entry->length, entry->offset, 0);
        break;
    case MADE:
        CALL(SYS_unlinkat, AT_FDCWD, entry->name, 0, 0, 0);
        break;
    case RENAMED:
        CALL(SYS_renameat2, AT_FDCWD, entry->name, AT_FDCWD, entry->other, 0);
        if (entry->aside[0] && link(entry->aside, entry->name) < 0) fail("link back");
        break;
    case REMOVED:
        if (entry->aside[0] && link(entry->aside, entry->name) < 0 && errno != EEXIST) fail("link back");
        break;
    default:
        break;
    }
}

void power_cut(uint64_t seed) {
    lock(); /* for ever: nobody writes any more */
    state = seed;
    size_t metadata = 0;
    for (size_t i = count; i-- > 0;) {
        if (entries[i].kind == DATA) take_back_data(&entries[i]);
        metadata += entries[i].kind > DATA;
    }
    size_t lost = metadata ? dice() % (metadata + 1) : 0;
    for (size_t i = count; i-- > 0 && lost > 0;) {
        if (entries[i].kind <= DATA) continue;
        take_back_metadata(&entries[i]);
        lost--;
    }
}

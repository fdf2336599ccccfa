/* Faults in the files of one folder, for a program that knows nothing of it: loaded with LD_PRELOAD.
 *
 * System calls that touch files are trapped with seccomp, so that it does not matter whether the program makes them through libc or
 * by itself. Those on files below $DUNLIN_FAULTS_FOLDER are counted and, where the control file says so, fail, do half of what
 * they should, wait until the rule is gone, or are the last thing that the process does. All others are passed on.
 *
 * The control file $DUNLIN_FAULTS_CONTROL is mapped: what the test writes there holds from the next call on. It has one rule of 64
 * bytes for each kind of call (faults.rs has the same two lists), of 64-bit numbers in the machine's order.
 */
#define _GNU_SOURCE
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum call { WRITE, SYNC, ALLOCATE, TRUNCATE, CREATE, RENAME, REMOVE, SPACE, CALLS };
enum action { NOTHING, FAIL, SHORTEN, HOLD, DIE, DIE_AFTER, TEAR, PRETEND, CUT };

struct rule {
    uint64_t count;    /* calls so far */
    uint64_t action;
    uint64_t argument; /* errno, bytes or a seed */
    uint64_t first;    /* the action holds for calls from this one */
    uint64_t last;     /* to this one, counted from 1 */
    uint64_t hits;     /* how often it did */
    uint64_t spare[2];
};

static struct rule *rules;
/* Whether what was there before each write is remembered, for a power cut. */
static int has_power;
static char folder[4096];
static size_t folder_length;

/* The mark on our own calls: in the sixth argument, which none of them has. */
#define PASS 0x0D071125
#define CALL(number, a, b, c, d, e) syscall(number, a, b, c, d, e, PASS)

/* The call's own answer, as the kernel gives it: a negative errno for a failure. */
static long answer(long result) { return result < 0 ? -errno : result; }

static int is_in_folder(const char *path) {
    return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == '\0');
}

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return is_in_folder(path);
}

static int is_ours_at(int directory, const char *path) {
    if (path == NULL) return 0;
    return path[0] == '/' ? is_in_folder(path) : directory != AT_FDCWD && is_ours(directory);
}

static void die(void) { kill(getpid(), SIGKILL); }

/* Counts the call; what is to happen to it. */
static struct rule decide(enum call call) {
    struct rule *rule = &rules[call];
    uint64_t number = __atomic_add_fetch(&rule->count, 1, __ATOMIC_SEQ_CST);
    struct rule now = { .action = __atomic_load_n(&rule->action, __ATOMIC_SEQ_CST), .argument = rule->argument };
    if (now.action == NOTHING || number < rule->first || number > rule->last) now.action = NOTHING;
    if (now.action != NOTHING) __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
    return now;
}

static long do_call(const long *a, long number) { return answer(CALL(number, a[0], a[1], a[2], a[3], a[4])); }

static size_t length_of(long number, const long *a) {
    if (number == SYS_write || number == SYS_pwrite64) return (size_t)a[2];
    size_t length = 0;
    for (long i = 0; i < a[2]; i++) length += ((const struct iovec *)a[1])[i].iov_len;
    return length;
}

/* Tells the log of the power cut what is about to be done, and does it. */
static long do_remembered(enum call call, long number, const long *a) {
    if (!has_power) return do_call(a, number);
    int fd = (int)a[0];
    uint64_t begin = 0;
    switch (call) {
    case WRITE: {
        int is_positioned = number == SYS_pwrite64 || number == SYS_pwritev;
        power_write(fd, is_positioned ? a[3] : lseek(fd, 0, SEEK_CUR), length_of(number, a));
        break;
    }
    case TRUNCATE:
        power_resize(fd, a[1]);
        break;
    case ALLOCATE:
        power_resize(fd, a[2] + a[3]);
        break;
    case CREATE:
        if (access((const char *)a[1], F_OK) < 0) power_name((const char *)a[1], NULL, NULL);
        break;
    case RENAME:
#ifdef SYS_rename
        if (number == SYS_rename) power_name((const char *)a[1], (const char *)a[0], NULL);
        else
#endif
        power_name((const char *)a[3], (const char *)a[1], NULL);
        break;
    case REMOVE:
        power_name(NULL, NULL, (const char *)(number == SYS_unlinkat ? a[1] : a[0]));
        break;
    case SYNC:
        begin = power_sync_begins();
        break;
    default:
        break;
    }
    long result = do_call(a, number);
    if (call == SYNC && result == 0) power_synced(fd, begin);
    return result;
}

/* Writes the first bytes only. */
static long write_some(long number, const long *a, size_t some) {
    if (number == SYS_write || number == SYS_pwrite64) {
        size_t length = (size_t)a[2] < some ? (size_t)a[2] : some;
        return answer(CALL(number, a[0], a[1], length, a[3], 0));
    }
    const struct iovec *vector = (const struct iovec *)a[1];
    int is_positioned = number != SYS_writev;
    long done = 0;
    for (int i = 0; i < (int)a[2] && (size_t)done < some; i++) {
        size_t left = some - (size_t)done, length = vector[i].iov_len < left ? vector[i].iov_len : left;
        long written = is_positioned ? answer(CALL(SYS_pwrite64, a[0], vector[i].iov_base, length, a[3] + done, 0))
                                     : answer(CALL(SYS_write, a[0], vector[i].iov_base, length, 0, 0));
        if (written < 0) return done ? done : written;
        done += written;
    }
    return done;
}

static long act(enum call call, long number, const long *a) {
    struct rule now = decide(call);
    long result;
    switch (now.action) {
    case FAIL:
        return -(long)now.argument;
    case SHORTEN:
        return call == WRITE ? write_some(number, a, now.argument) : do_remembered(call, number, a);
    case HOLD:
        while (__atomic_load_n(&rules[call].action, __ATOMIC_SEQ_CST) == HOLD) {
            struct timespec moment = { 0, 1000000 };
            nanosleep(&moment, NULL);
        }
        return do_remembered(call, number, a);
    case DIE:
        die();
        return -EIO;
    case DIE_AFTER:
        result = do_call(a, number);
        die();
        return result;
    case TEAR:
        if (call == WRITE) write_some(number, a, now.argument);
        die();
        return -EIO;
    case CUT:
        power_cut(now.argument);
        die();
        return -EIO;
    case PRETEND:
        result = do_call(a, number);
        if (result == 0) {
            struct statfs *statfs = (struct statfs *)a[1];
            statfs->f_bavail = statfs->f_bfree = now.argument / (statfs->f_bsize ? statfs->f_bsize : 1);
        }
        return result;
    default:
        return do_remembered(call, number, a);
    }
}

static long dispatch(long number, const long *a) {
    switch (number) {
    case SYS_pwritev2: /* its flags are in the way of the mark; std and rustix give none that matter here */
        number = SYS_pwritev;
        /* fall through */
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_pwritev:
        return is_ours((int)a[0]) ? act(WRITE, number, a) : do_call(a, number);
    case SYS_fsync:
    case SYS_fdatasync:
        return is_ours((int)a[0]) ? act(SYNC, number, a) : do_call(a, number);
    case SYS_fallocate:
        return is_ours((int)a[0]) ? act(ALLOCATE, number, a) : do_call(a, number);
    case SYS_ftruncate:
        return is_ours((int)a[0]) ? act(TRUNCATE, number, a) : do_call(a, number);
    case SYS_openat:
        return (a[2] & O_CREAT) && is_ours_at((int)a[0], (const char *)a[1]) ? act(CREATE, number, a) : do_call(a, number);
#ifdef SYS_rename
    case SYS_rename:
        return is_ours_at(AT_FDCWD, (const char *)a[1]) ? act(RENAME, number, a) : do_call(a, number);
    case SYS_unlink:
        return is_ours_at(AT_FDCWD, (const char *)a[0]) ? act(REMOVE, number, a) : do_call(a, number);
#endif
    case SYS_renameat:
    case SYS_renameat2:
        return is_ours_at((int)a[2], (const char *)a[3]) ? act(RENAME, number, a) : do_call(a, number);
    case SYS_unlinkat:
        return is_ours_at((int)a[0], (const char *)a[1]) ? act(REMOVE, number, a) : do_call(a, number);
    case SYS_statfs:
        return is_ours_at(AT_FDCWD, (const char *)a[0]) ? act(SPACE, number, a) : do_call(a, number);
    case SYS_fstatfs:
        return is_ours((int)a[0]) ? act(SPACE, number, a) : do_call(a, number);
    default:
        return -ENOSYS;
    }
}

static void trapped(int signal, siginfo_t *info, void *raw) {
    (void)signal;
    int before = errno;
    mcontext_t *machine = &((ucontext_t *)raw)->uc_mcontext;
#if defined(__x86_64__)
    greg_t *r = machine->gregs;
    long a[6] = { r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9] };
    r[REG_RAX] = dispatch(info->si_syscall, a);
#elif defined(__aarch64__)
    unsigned long long *r = machine->regs;
    long a[6] = { r[0], r[1], r[2], r[3], r[4], r[5] };
    r[0] = dispatch(info->si_syscall, a);
#else
#error "the registers of this machine are not known here"
#endif
    errno = before;
}

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#else
#define MACHINE AUDIT_ARCH_AARCH64
#endif

static void complain(const char *what) {
    fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static void trap_calls(void) {
    static const long calls[] = {
        SYS_write,  SYS_pwrite64, SYS_writev,   SYS_pwritev,  SYS_pwritev2, SYS_fsync,  SYS_fdatasync, SYS_fallocate, SYS_ftruncate,
        SYS_openat, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_statfs,   SYS_fstatfs,
#ifdef SYS_rename
        SYS_rename, SYS_unlink,
#endif
    };
    enum { COUNT = sizeof calls / sizeof *calls };
    struct sock_filter filter[COUNT + 8];
    int at = 0;
#define LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
#define IF_EQUAL(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
    filter[at++] = LOAD(arch);
    filter[at++] = IF_EQUAL(MACHINE, 1, 0);
    filter[at++] = ANSWER(SECCOMP_RET_ALLOW);
    filter[at++] = LOAD(args[5]);
    filter[at++] = IF_EQUAL(PASS, COUNT + 1, 0);
    filter[at++] = LOAD(nr);
    for (int i = 0; i < COUNT; i++) filter[at++] = IF_EQUAL((unsigned)calls[i], COUNT - i, 0);
    filter[at++] = ANSWER(SECCOMP_RET_ALLOW);
    filter[at++] = ANSWER(SECCOMP_RET_TRAP);
    struct sock_fprog program = { .len = at, .filter = filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) complain("no new privileges");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) complain("seccomp");
}

__attribute__((constructor)) static void begin(void) {
    const char *control = getenv("DUNLIN_FAULTS_CONTROL"), *where = getenv("DUNLIN_FAULTS_FOLDER");
    if (control == NULL || where == NULL) return;
    folder_length = (size_t)snprintf(folder, sizeof folder, "%s", where);
    int fd = open(control, O_RDWR | O_CLOEXEC);
    if (fd < 0) complain(control);
    rules = mmap(NULL, sizeof(struct rule) * CALLS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rules == MAP_FAILED) complain("mmap");
    close(fd);
    const char *aside = getenv("DUNLIN_FAULTS_ASIDE");
    has_power = aside != NULL;
    if (has_power) power_start(aside);
    struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER };
    if (sigaction(SIGSYS, &action, NULL) < 0) complain("sigaction");
    trap_calls();
}

/* A disk that fails on purpose, and that remembers what was asked of it: preloaded (LD_PRELOAD) into a process under test.
 *
 *   DISK_ROOT     only files under this directory count
 *   DISK_CONTROL  a file of 4096 bytes, `struct control`, written by the test while the process runs
 *   DISK_RECORD   where everything that changes the directory is appended, with what goes out over sockets and pipes in between; optional
 *
 * The order in the record is the order in which it happened: while recording, a lock is held around every call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FDS = 65536, PATH_BYTES = 4096 };
enum action { NOTHING, KILL, FAIL, DELAY };
enum call { A_SYNC, A_WRITE };
/* Kinds of record; tests/it/crash/record.rs reads them. */
enum kind { START = 1, OPEN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, SENT };

struct control {
    int32_t action;    /* enum action: what happens at the call that is chosen */
    int32_t after;     /* 0: in place of the call, or before it; 1: after it */
    int32_t countdown; /* which call from now: 1 is the next */
    int32_t delay_ms;
    int64_t space;     /* bytes that still fit; negative: no bound */
    int32_t fired;     /* how often the action has happened */
    int32_t syncs;     /* how many syncs were counted */
    char only[64];     /* counts only files with this in their path; empty: all */
    int32_t call;      /* enum call: what is counted */
};

static char root[PATH_BYTES];
static size_t root_bytes;
static int record_fd = -1;
static volatile struct control *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FDS];   /* of open files and directories under the root */
static uint32_t files[FDS]; /* a number for each opening of a file; 0 for directories */
static uint32_t openings;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_send)(int, const void *, size_t, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fallocate)(int, int, off64_t, off64_t);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);
static int (*real_link)(const char *, const char *);

/* `file` says which opened file is meant, whatever its name is by now; 0 where the path says it. */
static void note(enum kind kind, uint32_t file, uint64_t number, const char *path, const void *data, size_t bytes) {
    if (record_fd < 0) return;
    uint32_t path_bytes = path ? (uint32_t)strlen(path) : 0, data_bytes = (uint32_t)bytes;
    char head[24];
    memset(head, 0, sizeof head);
    head[0] = (char)kind;
    memcpy(head + 4, &file, 4);
    memcpy(head + 8, &number, 8);
    memcpy(head + 16, &path_bytes, 4);
    memcpy(head + 20, &data_bytes, 4);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)path, path_bytes}, {(void *)data, data_bytes}};
    syscall(SYS_writev, record_fd, parts, 3);
}

static void resolve(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_send = dlsym(RTLD_NEXT, "send");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fallocate = dlsym(RTLD_NEXT, "fallocate64");
    real_sync_file_range = dlsym(RTLD_NEXT, "sync_file_range");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    real_link = dlsym(RTLD_NEXT, "link");
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    const char *directory = getenv("DISK_ROOT"), *file = getenv("DISK_CONTROL"), *record = getenv("DISK_RECORD");
    if (!directory || strlen(directory) >= sizeof root) return;
    strcpy(root, directory);
    root_bytes = strlen(root);
    if (file) {
        int fd = real_open(file, O_RDWR | O_CLOEXEC);
        void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) control = at;
        if (fd >= 0) real_close(fd);
    }
    if (record) {
        record_fd = real_open(record, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        note(START, 0, 0, NULL, NULL, 0);
    }
}

/* The path under the root that is meant, or NULL. */
static const char *inside(const char *path, char *space) {
    if (!root_bytes || !path) return NULL;
    if (path[0] != '/') {
        if (!getcwd(space, PATH_BYTES)) return NULL;
        size_t used = strlen(space);
        if (used + strlen(path) + 2 > PATH_BYTES) return NULL;
        space[used] = '/';
        strcpy(space + used + 1, path);
        path = space;
    }
    if (strncmp(path, root, root_bytes) != 0 || (path[root_bytes] != '/' && path[root_bytes] != 0)) return NULL;
    return path;
}

static char *path_of(int fd) { return fd >= 0 && fd < FDS ? paths[fd] : NULL; }

static int counts(const char *path) {
    return control && (!control->only[0] || strstr(path, (const char *)control->only));
}

static void take_lock(void) {
    if (record_fd >= 0) pthread_mutex_lock(&lock);
}

static void give_lock(void) {
    if (record_fd >= 0) {
        int kept = errno;
        pthread_mutex_unlock(&lock);
        errno = kept;
    }
}

static void forget(int fd) {
    if (fd >= 0 && fd < FDS && paths[fd]) {
        char *path = __atomic_exchange_n(&paths[fd], NULL, __ATOMIC_ACQ_REL);
        free(path);
    }
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= FDS) return fd;
    forget(fd);
    struct stat found;
    if (fstat(fd, &found) != 0) return fd;
    int is_directory = S_ISDIR(found.st_mode);
    if (!is_directory && (flags & O_ACCMODE) == O_RDONLY) return fd;
    files[fd] = is_directory ? 0 : __atomic_add_fetch(&openings, 1, __ATOMIC_ACQ_REL);
    paths[fd] = strdup(path);
    if (!is_directory) note(OPEN, files[fd], (existed ? 0 : 1) | (flags & O_TRUNC ? 2 : 0), path, NULL, 0);
    return fd;
}

static int open_it(const char *path, int flags, mode_t mode) {
    char space[PATH_BYTES];
    const char *ours = inside(path, space);
    if (!ours) return real_open(path, flags, mode);
    take_lock();
    struct stat found;
    int existed = stat(ours, &found) == 0;
    int fd;
    if (!existed && (flags & O_CREAT) && counts(ours) && control->space == 0) {
        errno = ENOSPC;
        fd = -1;
    } else {
        fd = opened(real_open(path, flags, mode), ours, flags, existed);
    }
    give_lock();
    return fd;
}

#define OPEN_MODE(flags)                                                                                                         \
    mode_t mode = 0;                                                                                                             \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                                     \
        va_list rest;                                                                                                            \
        va_start(rest, flags);                                                                                                   \
        mode = va_arg(rest, mode_t);                                                                                             \
        va_end(rest);                                                                                                            \
    }

int open(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_it(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_it(path, flags, mode);
}

static int openat_it(int at, const char *path, int flags, mode_t mode) {
    if (at == AT_FDCWD || path[0] == '/') return open_it(path, flags, mode);
    return real_openat(at, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return openat_it(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return openat_it(at, path, flags, mode);
}

int creat(const char *path, mode_t mode) { return open_it(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int creat64(const char *path, mode_t mode) { return open_it(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    if (path_of(fd)) {
        take_lock();
        forget(fd);
        give_lock();
    }
    return real_close(fd);
}

/* How many of these bytes fit: all, some, or -1 with ENOSPC. */
static ssize_t fitting(const char *path, size_t bytes) {
    if (!counts(path) || control->space < 0) return (ssize_t)bytes;
    int64_t left = control->space;
    if (left == 0 && bytes > 0) {
        __atomic_fetch_add(&control->fired, 1, __ATOMIC_ACQ_REL);
        errno = ENOSPC;
        return -1;
    }
    size_t fits = (int64_t)bytes > left ? (size_t)left : bytes;
    control->space = left - (int64_t)fits;
    return (ssize_t)fits;
}

/* In short steps, because the test may make the delay shorter meanwhile. */
static void pause_for_delay(void) {
    struct timespec began, now, step = {0, 10 * 1000000L};
    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        nanosleep(&step, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 < control->delay_ms);
}

/* Which action is due at this call. */
static enum action due(const char *path, enum call call) {
    if (!counts(path)) return NOTHING;
    if (call == A_SYNC) __atomic_fetch_add(&control->syncs, 1, __ATOMIC_ACQ_REL);
    if (control->call != (int32_t)call || control->action == NOTHING || control->countdown <= 0) return NOTHING;
    if (__atomic_sub_fetch(&control->countdown, 1, __ATOMIC_ACQ_REL) != 0) return NOTHING;
    __atomic_fetch_add(&control->fired, 1, __ATOMIC_ACQ_REL);
    return (enum action)control->action;
}

/* The action in front of a call or behind it; FAIL is the caller's to do. */
static void strike(enum action action, int after) {
    if (!control || control->after != after) return;
    if (action == KILL) kill(getpid(), SIGKILL);
    if (action == DELAY) pause_for_delay();
}

static ssize_t written(int fd, const char *path, const void *data, size_t bytes, off64_t offset, int at) {
    enum action action = due(path, A_WRITE);
    if (action == FAIL) {
        errno = EIO;
        return -1;
    }
    strike(action, 0);
    take_lock();
    ssize_t fits = fitting(path, bytes);
    ssize_t done = -1;
    if (fits >= 0) {
        if (!at) {
            int flags = fcntl(fd, F_GETFL);
            offset = lseek64(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
            done = real_write(fd, data, (size_t)fits);
        } else {
            done = real_pwrite(fd, data, (size_t)fits, offset);
        }
        if (done > 0) note(WRITE, files[fd], (uint64_t)offset, path, data, (size_t)done);
    }
    give_lock();
    strike(action, 1);
    return done;
}

static int goes_out(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && (S_ISSOCK(found.st_mode) || S_ISFIFO(found.st_mode));
}

/* Noted before it goes out: what it promises must be on the disk by now. */
static void sending(int fd, const struct iovec *parts, int count) {
    if (record_fd < 0 || !goes_out(fd)) return;
    take_lock();
    for (int i = 0; i < count; i++) note(SENT, 0, (uint64_t)fd, NULL, parts[i].iov_base, parts[i].iov_len);
    give_lock();
}

ssize_t write(int fd, const void *data, size_t bytes) {
    char *path = path_of(fd);
    if (path) return written(fd, path, data, bytes, 0, 0);
    struct iovec one = {(void *)data, bytes};
    sending(fd, &one, 1);
    return real_write(fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    char *path = path_of(fd);
    return path ? written(fd, path, data, bytes, offset, 1) : real_pwrite(fd, data, bytes, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    char *path = path_of(fd);
    return path ? written(fd, path, data, bytes, offset, 1) : real_pwrite(fd, data, bytes, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char *path = path_of(fd);
    if (!path) {
        sending(fd, parts, count);
        return real_writev(fd, parts, count);
    }
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = written(fd, path, parts[i].iov_base, parts[i].iov_len, 0, 0);
        if (done < 0) return sum > 0 ? sum : -1;
        sum += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return sum;
}

ssize_t send(int fd, const void *data, size_t bytes, int flags) {
    struct iovec one = {(void *)data, bytes};
    sending(fd, &one, 1);
    return real_send(fd, data, bytes, flags);
}

static int synced(int fd, int (*real)(int)) {
    char *path = path_of(fd);
    if (!path) return real(fd);
    enum action action = due(path, A_SYNC);
    if (action == FAIL) {
        errno = EIO;
        return -1;
    }
    strike(action, 0);
    take_lock();
    int result = real(fd);
    if (result == 0) note(SYNC, files[fd], 0, path, NULL, 0);
    give_lock();
    strike(action, 1);
    return result;
}

int fsync(int fd) { return synced(fd, real_fsync); }

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int truncated(int fd, off64_t bytes) {
    char *path = path_of(fd);
    if (!path) return real_ftruncate(fd, bytes);
    take_lock();
    int result = real_ftruncate(fd, bytes);
    if (result == 0) note(TRUNCATE, files[fd], (uint64_t)bytes, path, NULL, 0);
    give_lock();
    return result;
}

int ftruncate(int fd, off_t bytes) { return truncated(fd, bytes); }

int ftruncate64(int fd, off64_t bytes) { return truncated(fd, bytes); }

/* Only room that does not change the length is asked for (FALLOC_FL_KEEP_SIZE), so nothing of it is to be remembered. */
static int allocated(int fd, int mode, off64_t offset, off64_t bytes) {
    char *path = path_of(fd);
    if (path && !(mode & 1)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (path && counts(path) && control->space >= 0 && bytes > control->space) {
        errno = ENOSPC;
        return -1;
    }
    return real_fallocate(fd, mode, offset, bytes);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) { return allocated(fd, mode, offset, bytes); }

int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) { return allocated(fd, mode, offset, bytes); }

/* A hint that promises nothing: not remembered. */
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags) {
    return real_sync_file_range(fd, offset, bytes, flags);
}

int rename(const char *from, const char *to) {
    char space[PATH_BYTES], other[PATH_BYTES];
    const char *ours = inside(from, space), *target = inside(to, other);
    if (!ours || !target) return real_rename(from, to);
    take_lock();
    int result = real_rename(from, to);
    if (result == 0) note(RENAME, 0, 0, ours, target, strlen(target));
    give_lock();
    return result;
}

int link(const char *from, const char *to) {
    char space[PATH_BYTES], other[PATH_BYTES];
    const char *ours = inside(from, space), *target = inside(to, other);
    if (!ours || !target) return real_link(from, to);
    take_lock();
    int result = real_link(from, to);
    if (result == 0) note(LINK, 0, 0, ours, target, strlen(target));
    give_lock();
    return result;
}

#define NAMED(name, parameters, call, path, kind)                                                                                \
    int name parameters {                                                                                                        \
        char space[PATH_BYTES];                                                                                                  \
        const char *ours = inside(path, space);                                                                                  \
        if (!ours) return real_##name call;                                                                                      \
        take_lock();                                                                                                             \
        int result = real_##name call;                                                                                           \
        if (result == 0) note(kind, 0, 0, ours, NULL, 0);                                                                           \
        give_lock();                                                                                                             \
        return result;                                                                                                           \
    }

NAMED(unlink, (const char *path), (path), path, UNLINK)
NAMED(mkdir, (const char *path, mode_t mode), (path, mode), path, MKDIR)
NAMED(rmdir, (const char *path), (path), path, RMDIR)

int unlinkat(int at, const char *path, int flags) {
    if (at != AT_FDCWD && path[0] != '/') return real_unlinkat(at, path, flags);
    return flags & AT_REMOVEDIR ? rmdir(path) : unlink(path);
}

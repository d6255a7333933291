/* A wall clock that can jump under a running process: preloaded, it adds the seconds that the file
 * named by WALL_CLOCK holds (a mapped int64) to every reading of the real-time clock.
 *
 * Monotonic time is left alone, as a jump of a machine's clock leaves it. A wait until a moment of
 * the real-time clock is moved back by as much, so that it ends when the process thinks it does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Moments of the monotonic clock are small, those of the real-time clock are not. */
#define YEAR_2001 1000000000

static volatile const int64_t *jump;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *jump, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) jump = mapped;
}

static int64_t jumped(void) { return jump ? *jump : 0; }

static void *next(const char *name) {
    /* The oldest version of some of these has another structure behind it. */
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found ? found : dlsym(RTLD_NEXT, name);
}

static const struct timespec *moved(const struct timespec *until, struct timespec *copy) {
    if (!until || until->tv_sec < YEAR_2001) return until;
    *copy = *until;
    copy->tv_sec -= jumped();
    return copy;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = next("clock_gettime");
    int status = real ? real(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += jumped();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    int status = clock_gettime(CLOCK_REALTIME, &exact);
    if (!status) {
        now->tv_sec = exact.tv_sec;
        now->tv_usec = exact.tv_nsec / 1000;
    }
    return status;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec copy;
    if (!real) real = next("pthread_cond_timedwait");
    return real(cond, mutex, moved(until, &copy));
}

int cnd_timedwait(void *restrict cond, void *restrict mutex,
                  const struct timespec *restrict until) {
    static int (*real)(void *, void *, const struct timespec *);
    struct timespec copy;
    if (!real) real = next("cnd_timedwait");
    return real(cond, mutex, moved(until, &copy));
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec copy;
    if (!real) real = next("sem_timedwait");
    return real(sem, moved(until, &copy));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left) {
    static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
    struct timespec copy;
    if (!real) real = next("clock_nanosleep");
    return real(clock, flags, flags & TIMER_ABSTIME ? moved(wanted, &copy) : wanted, left);
}

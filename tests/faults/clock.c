/* A wrong clock for one process: LD_PRELOAD this, with CLOCK_FILE naming a file of one int64, the seconds that the time of day is
 * off by. Whoever writes the file makes the clock jump. The monotonic clock stays right.
 *
 * Waits until a time of day are put back to the kernel's clock, those of C11's threads among them, which librdkafka uses: a deadline
 * an hour ago would else be over at once, again and again, and one in 400 days would never come. There is no lock in here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Deadlines above this many seconds are times of day; those of the monotonic clock count from the machine's start. */
#define TIME_OF_DAY 1000000000

typedef int gettime(clockid_t, struct timespec *);
typedef int timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
typedef int c11_timedwait(cnd_t *, mtx_t *, const struct timespec *);

static const int64_t *offset;
static gettime *real_gettime;
static timedwait *real_timedwait;
static c11_timedwait *real_c11_timedwait;

static int64_t ahead(void) { return offset ? __atomic_load_n(offset, __ATOMIC_RELAXED) : 0; }

__attribute__((constructor)) static void begin(void) {
    real_gettime = (gettime *)dlsym(RTLD_NEXT, "clock_gettime");
    real_timedwait = (timedwait *)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_c11_timedwait = (c11_timedwait *)dlsym(RTLD_NEXT, "cnd_timedwait");
    const char *path = getenv("CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = real_gettime ? real_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed) *out = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
    return failed;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

time_t time(time_t *out) {
    struct timespec now = { 0 };
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static struct timespec put_back(const struct timespec *until) {
    struct timespec real = *until;
    if (real.tv_sec > TIME_OF_DAY) real.tv_sec -= ahead();
    return real;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until) {
    struct timespec real = put_back(until);
    return real_timedwait(cond, lock, &real);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict lock, const struct timespec *restrict until) {
    struct timespec real = put_back(until);
    return real_c11_timedwait(cond, lock, &real);
}

/* What POSIX has for processes: a robust mutex, a semaphore, a condition, a barrier; and
   for an event a bare futex. Requests "what n size" come on standard input, one a line; each
   is answered with a line of JSON. */

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 10000 /* samples */

static struct shared {
	_Alignas(64) pthread_mutex_t lock;
	_Alignas(64) pthread_cond_t changed;
	_Alignas(64) pthread_barrier_t start;
	_Alignas(64) pthread_barrier_t meet;
	_Alignas(64) sem_t sem;
	_Alignas(64) unsigned called; /* events: 0 not set, 1 set */
	_Alignas(64) unsigned answered;
	_Alignas(64) volatile int turn;
	double rate[64], took[64];
	double at[2][MOST];
} *s;

static int n, size; /* of the request */

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void rest(long ns) {
	struct timespec t = {0, ns};
	nanosleep(&t, NULL);
}

static void check(int failed) {
	if (failed) {
		perror("locks.c");
		_exit(1);
	}
}

/* prepare makes everything new, for a number of processes. */
static void prepare(int processes) {
	pthread_mutexattr_t m;
	pthread_condattr_t c;
	pthread_barrierattr_t b;
	if (s != NULL) munmap(s, sizeof *s);
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(s == MAP_FAILED);
	pthread_mutexattr_init(&m);
	pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&m, PTHREAD_MUTEX_ROBUST);
	pthread_condattr_init(&c);
	pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
	pthread_barrierattr_init(&b);
	pthread_barrierattr_setpshared(&b, PTHREAD_PROCESS_SHARED);
	check(pthread_mutex_init(&s->lock, &m) || pthread_cond_init(&s->changed, &c) ||
		pthread_barrier_init(&s->start, &b, processes) || pthread_barrier_init(&s->meet, &b, processes) ||
		sem_init(&s->sem, 1, 1));
}

/* crew lets processes play a part, each with its number, and waits for them. */
static void crew(int processes, void (*part)(int)) {
	prepare(processes);
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();
		check(pid < 0);
		if (pid == 0) {
			pthread_barrier_wait(&s->start);
			part(i);
			_exit(0);
		}
	}
	for (int i = 0; i < processes; i++) {
		int status;
		check(wait(&status) < 0 || status != 0);
	}
}

static void fight(int i) {
	long count = 0;
	double began = now(), t = began;
	while (t < began + n / 1e6) {
		for (int j = 0; j < 32; j++) {
			check(pthread_mutex_lock(&s->lock));
			count++;
			check(pthread_mutex_unlock(&s->lock));
		}
		t = now();
	}
	s->rate[i] = count / (t - began);
}

static void set(unsigned *event) {
	__atomic_store_n(event, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, event, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

static void await(unsigned *event) {
	while (__atomic_load_n(event, __ATOMIC_SEQ_CST) == 0) syscall(SYS_futex, event, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void clear(unsigned *event) { __atomic_store_n(event, 0, __ATOMIC_SEQ_CST); }

/* The one that sleeps: it says that it is ready, waits, and says when it runs. */
static void sleeper(void) {
	for (int i = 0; i < n; i++) {
		set(&s->answered);
		await(&s->called);
		s->at[1][i] = now();
		clear(&s->called);
	}
}

static void waker(long pause) {
	for (int i = 0; i < n; i++) {
		await(&s->answered);
		clear(&s->answered);
		if (pause > 0) rest(pause);
		s->at[0][i] = now();
		set(&s->called);
	}
}

static void wake(int i) { i == 0 ? sleeper() : waker(1000000); }

static void events(int i) {
	double began = now();
	i == 0 ? sleeper() : waker(0);
	s->took[i] = now() - began;
}

static void meet(int i) {
	double began = now();
	for (int j = 0; j < n; j++) pthread_barrier_wait(&s->meet);
	s->took[i] = now() - began;
}

static void condition(int i) {
	double began = now();
	for (int j = 0; j < n; j++) {
		check(pthread_mutex_lock(&s->lock));
		while (s->turn != i) check(pthread_cond_wait(&s->changed, &s->lock));
		s->turn = !i;
		check(pthread_cond_signal(&s->changed));
		check(pthread_mutex_unlock(&s->lock));
	}
	s->took[i] = now() - began;
}

/* own takes the lock and keeps it, with memory of a size. */
static void own(void) {
	char *ballast = malloc(size + 1);
	check(ballast == NULL);
	for (int i = 0; i < size; i += 4096) ((volatile char *)ballast)[i] = 1;
	check(pthread_mutex_lock(&s->lock));
	set(&s->called);
	for (;;) pause();
}

/* inherit waits for the lock, and says when it has it. */
static void inherit(void) {
	set(&s->answered);
	check(pthread_mutex_lock(&s->lock) != EOWNERDEAD);
	s->at[1][0] = now();
	check(pthread_mutex_consistent(&s->lock));
	check(pthread_mutex_unlock(&s->lock));
	_exit(0);
}

static double recover(void) {
	int status;
	prepare(1);
	pid_t owner = fork();
	if (owner == 0) own();
	await(&s->called);
	pid_t heir = fork();
	if (heir == 0) inherit();
	check(owner < 0 || heir < 0);
	await(&s->answered);
	rest(2000000);
	double began = now();
	kill(owner, SIGKILL);
	check(waitpid(heir, &status, 0) < 0 || status != 0);
	check(waitpid(owner, &status, 0) < 0);
	return s->at[1][0] - began;
}

static void print_mean(double seconds) { printf("{\"mean\": %.12f}\n", seconds / n); }

static void print_took(int processes) {
	double most = 0;
	for (int i = 0; i < processes; i++)
		if (s->took[i] > most) most = s->took[i];
	print_mean(most);
}

static void answer(const char *what) {
	double began;
	if (!strcmp(what, "lock")) {
		prepare(1);
		volatile long count = 0;
		began = now();
		for (int i = 0; i < n; i++) {
			check(pthread_mutex_lock(&s->lock));
			count++;
			check(pthread_mutex_unlock(&s->lock));
		}
		print_mean(now() - began);
	} else if (!strcmp(what, "semaphore")) {
		prepare(1);
		volatile long count = 0;
		began = now();
		for (int i = 0; i < n; i++) {
			check(sem_wait(&s->sem));
			count++;
			check(sem_post(&s->sem));
		}
		print_mean(now() - began);
	} else if (!strcmp(what, "fight")) {
		crew(size, fight);
		printf("{\"rates\": [");
		for (int i = 0; i < size; i++) printf("%s%f", i ? ", " : "", s->rate[i]);
		printf("]}\n");
	} else if (!strcmp(what, "wake") || !strcmp(what, "recover")) {
		int waking = !strcmp(what, "wake");
		if (waking) crew(2, wake);
		printf("{\"samples\": [");
		for (int i = 0; i < n; i++) printf("%s%.9f", i ? ", " : "", waking ? s->at[1][i] - s->at[0][i] : recover());
		printf("]}\n");
	} else if (!strcmp(what, "events")) {
		crew(2, events);
		print_took(2);
	} else if (!strcmp(what, "meet")) {
		crew(size, meet);
		print_took(size);
	} else if (!strcmp(what, "condition")) {
		crew(2, condition);
		print_took(2);
	} else {
		printf("{\"error\": \"no such request\"}\n");
	}
	fflush(stdout);
}

int main(void) {
	char what[16];
	while (scanf("%15s %d %d", what, &n, &size) == 3) {
		check(n > MOST && (!strcmp(what, "wake") || !strcmp(what, "events")));
		answer(what);
	}
	return 0;
}

/* What POSIX has to carry messages from process to process: a pipe, with the length before
   each message, and a message queue. Requests "what crew capacity n size" come on standard
   input, one a line; each is answered with a line of JSON. A crew of k is k processes that
   put and k that get, each its part of n messages. */

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 10000 /* samples */
#define PAUSE 2000000 /* ns, after which one who waits is asleep */

static struct shared {
	_Alignas(64) pthread_mutex_t reading, writing;
	_Alignas(64) pthread_barrier_t start;
	double began[64], ended[128];
	double sample[MOST];
} *s;

static int crew, capacity, n, size; /* of the request */
static int locked;                  /* several read and write the pipe */
static int ends[2];
static mqd_t queue;
static char *message;

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
		perror("queues.c");
		_exit(1);
	}
}

/* A message is its length and its bytes. Several that write or read take turns: the kernel
   keeps together only what is short, and a reader needs both parts of the same message. */
static void put_pipe(void) {
	uint32_t length = size;
	struct iovec part[2] = {{&length, sizeof length}, {message, size}};
	if (locked) check(pthread_mutex_lock(&s->writing));
	for (int i = 0; i < 2;) {
		ssize_t k = writev(ends[1], part + i, 2 - i);
		check(k < 0);
		for (; i < 2 && (size_t)k >= part[i].iov_len; i++) k -= part[i].iov_len;
		if (i < 2) {
			part[i].iov_base = (char *)part[i].iov_base + k;
			part[i].iov_len -= k;
		}
	}
	if (locked) check(pthread_mutex_unlock(&s->writing));
}

static void fill(void *to, size_t length) {
	for (size_t have = 0; have < length;) {
		ssize_t k = read(ends[0], (char *)to + have, length - have);
		check(k <= 0);
		have += k;
	}
}

static void get_pipe(void) {
	uint32_t length;
	if (locked) check(pthread_mutex_lock(&s->reading));
	fill(&length, sizeof length);
	check(length != (uint32_t)size);
	fill(message, length);
	if (locked) check(pthread_mutex_unlock(&s->reading));
}

static void put_queue(void) { check(mq_send(queue, message, size, 0)); }

static void get_queue(void) { check(mq_receive(queue, message, size, NULL) != size); }

/* play lets processes put and get after all have met, and returns the seconds from when the
   first one began to put until the last one has ended. The time is put where waking. */
static double play(void (*put)(void), void (*get)(void), int waking) {
	pthread_mutexattr_t m;
	pthread_barrierattr_t b;
	if (s != NULL) munmap(s, sizeof *s);
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(s == MAP_FAILED);
	pthread_mutexattr_init(&m);
	pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
	pthread_barrierattr_init(&b);
	pthread_barrierattr_setpshared(&b, PTHREAD_PROCESS_SHARED);
	check(pthread_mutex_init(&s->reading, &m) || pthread_mutex_init(&s->writing, &m) ||
		pthread_barrier_init(&s->start, &b, 2 * crew));
	for (int i = 0; i < 2 * crew; i++) {
		pid_t pid = fork();
		check(pid < 0);
		if (pid > 0) continue;
		memset(message, 'x', size);
		pthread_barrier_wait(&s->start);
		if (i < crew) s->began[i] = now();
		for (int j = 0; j < n / crew; j++) {
			if (i < crew) {
				if (waking) {
					rest(PAUSE);
					double t = now();
					memcpy(message, &t, sizeof t);
				}
				put();
			} else {
				get();
				if (waking) {
					double t = now(), sent;
					memcpy(&sent, message, sizeof sent);
					s->sample[j] = t - sent;
				}
			}
		}
		s->ended[i] = now();
		_exit(0);
	}
	for (int i = 0; i < 2 * crew; i++) {
		int status;
		check(wait(&status) < 0 || status != 0);
	}
	double first = s->began[0], last = 0;
	for (int i = 0; i < crew; i++)
		if (s->began[i] < first) first = s->began[i];
	for (int i = 0; i < 2 * crew; i++)
		if (s->ended[i] > last) last = s->ended[i];
	return last - first;
}

static void print(double seconds, int waking) {
	if (waking) {
		printf("{\"samples\": [");
		for (int i = 0; i < n; i++) printf("%s%.9f", i ? ", " : "", s->sample[i]);
		printf("]}\n");
	} else {
		printf("{\"mean\": %.12f}\n", seconds / (n / crew * crew));
	}
}

static void answer(const char *what) {
	int waking = !strncmp(what, "wake-", 5);
	if (waking) what += 5;
	message = malloc(size);
	check(message == NULL);
	if (!strcmp(what, "pipe")) {
		locked = crew > 1;
		check(pipe(ends));
		print(play(put_pipe, get_pipe, waking), waking);
		close(ends[0]);
		close(ends[1]);
	} else if (!strcmp(what, "mqueue")) {
		char name[32];
		struct mq_attr a = {.mq_maxmsg = capacity, .mq_msgsize = size};
		snprintf(name, sizeof name, "/brood-bench-%d", getpid());
		queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
		if (queue == (mqd_t)-1) {
			printf("{\"error\": \"mq_open: %s\"}\n", strerror(errno));
		} else {
			mq_unlink(name); /* the processes inherit it open */
			print(play(put_queue, get_queue, waking), waking);
			mq_close(queue);
		}
	} else {
		printf("{\"error\": \"no such request\"}\n");
	}
	free(message);
	fflush(stdout);
}

int main(void) {
	char what[16];
	while (scanf("%15s %d %d %d %d", what, &crew, &capacity, &n, &size) == 5) {
		check(crew < 1 || crew > 64 || (n > MOST && !strncmp(what, "wake-", 5)));
		answer(what);
	}
	return 0;
}

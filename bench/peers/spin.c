// A job of known length: spin NAME:CPU:WAIT:CPU..., in microseconds. It uses that
// much CPU time and sleeps in between, and prints its name and the moment of its end, in
// nanoseconds of the monotonic clock.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long now(clockid_t c) {
	struct timespec t;
	clock_gettime(c, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
	if (argc < 2)
		return 2;
	char *name = strtok(argv[1], ":"), *word;
	long long used = 0; // what is used before main counts
	for (int i = 0; (word = strtok(NULL, ":")); i++) {
		long long d = atoll(word) * 1000;
		if (i % 2 == 0) {
			used += d;
			while (now(CLOCK_PROCESS_CPUTIME_ID) < used)
				for (volatile int k = 0; k < 2000; k++)
					;
		} else {
			struct timespec t = {d / 1000000000, d % 1000000000};
			nanosleep(&t, NULL);
		}
	}
	printf("%s %lld\n", name, now(CLOCK_MONOTONIC));
	return 0;
}

/* The load of the benchmark: load MODE SOCKS_PORT ORIGIN_HOST ORIGIN_PORT ...
 *   down|up FLOWS BYTES          that many bytes over each of so many flows at once
 *   echo COUNT                   one byte there and back over one flow, so many times
 *   flows WORKERS SECONDS        each worker opens flow after flow, for 64 bytes each
 *   paced COUNT MILLISECONDS     a flow for 64 bytes every so often, whether the last one has its answer or not
 *   idle COUNT                   opens so many flows, one byte there and back over each, and keeps them until a line comes on stdin
 * Prints one line of JSON. Every byte is compared. Nothing waits longer than 60 s. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define ANSWER 64
#define MAX_SAMPLES 1000000

static struct sockaddr_in proxy = {.sin_family = AF_INET}, origin = {.sin_family = AF_INET};
static int errors;
static uint64_t bytes;
static double until;
static double *took; /* seconds of each sample */
static int samples;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void failed(void) { __sync_fetch_and_add(&errors, 1); }

static void sample(double seconds) {
    int index = __sync_fetch_and_add(&samples, 1);
    if (index < MAX_SAMPLES) took[index] = seconds;
}

static int dial(char command, uint64_t size) {
    unsigned char reply[10], request[9] = {(unsigned char)command}, target[10] = {5, 1, 0, 1};
    struct timeval limit = {60, 0};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    memcpy(target + 4, &origin.sin_addr, 4), memcpy(target + 8, &origin.sin_port, 2);
    for (int i = 8; i > 0; i--, size >>= 8) request[i] = (unsigned char)size;
    if (connect(fd, (void *)&proxy, sizeof proxy) == 0 && send_all(fd, "\5\1\0", 3) == 0 && receive_all(fd, reply, 2) == 0 &&
        send_all(fd, target, 10) == 0 && receive_all(fd, reply, 10) == 0 && reply[1] == 0 && send_all(fd, request, 9) == 0)
        return fd;
    close(fd);
    return -1;
}

static void *down(void *unused) {
    int fd = dial('D', bytes);
    if (fd < 0 || receive_pattern(fd, bytes) || send_all(fd, "", 1)) failed();
    close(fd);
    return unused;
}

static void *up(void *unused) {
    char right = 0;
    int fd = dial('U', bytes);
    if (fd < 0 || send_pattern(fd, bytes) || receive_all(fd, &right, 1) || !right || send_all(fd, "", 1)) failed();
    close(fd);
    return unused;
}

static void *answer(void *unused) {
    double began = now();
    int fd = dial('D', ANSWER);
    if (fd < 0 || receive_pattern(fd, ANSWER)) failed();
    else sample(now() - began), send_all(fd, "", 1);
    close(fd);
    return unused;
}

static void *answers(void *unused) {
    while (now() < until && errors < 100) answer(unused);
    return unused;
}

static int echo_byte(int fd) {
    char byte = 1;
    return send_all(fd, &byte, 1) || receive_all(fd, &byte, 1) || byte != 1;
}

static void echo(int count) {
    int fd = dial('E', 0);
    if (fd < 0) failed();
    for (int i = -200; i < count && !errors; i++) { /* the first 200 warm up */
        double began = now();
        if (echo_byte(fd)) failed();
        else if (i >= 0) sample(now() - began);
    }
    close(fd);
}

static void idle(int count) {
    int fds[count];
    for (int i = 0; i < count && !errors; i++) {
        fds[i] = dial('E', 0);
        if (fds[i] < 0 || echo_byte(fds[i])) failed();
    }
    printf("{\"flows\": %d, \"errors\": %d}\n", count, errors), fflush(stdout);
    if (!errors) getchar(); /* all of them end with the process */
}

static void at_once(int count, void *(*work)(void *)) {
    pthread_t threads[count];
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void paced(int count, double interval) {
    pthread_t threads[count];
    double began = now();
    for (int i = 0; i < count; i++) {
        double left = began + i * interval - now();
        if (left > 0) usleep((useconds_t)(left * 1e6));
        pthread_create(&threads[i], NULL, answer, NULL);
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static int compare(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

int main(int count, char **arguments) {
    const char *mode = arguments[1];
    double began, seconds;
    int number;
    if (count < 6) return 2;
    signal(SIGPIPE, SIG_IGN);
    make_pattern();
    took = calloc(MAX_SAMPLES, sizeof *took);
    proxy.sin_addr.s_addr = htonl(INADDR_LOOPBACK), proxy.sin_port = htons((uint16_t)atoi(arguments[2]));
    inet_pton(AF_INET, arguments[3], &origin.sin_addr), origin.sin_port = htons((uint16_t)atoi(arguments[4]));
    number = atoi(arguments[5]);
    began = now();
    if (!strcmp(mode, "echo")) echo(number);
    else if (!strcmp(mode, "idle")) return idle(number), errors != 0;
    else if (count < 7) return 2;
    else if (!strcmp(mode, "flows")) until = now() + atof(arguments[6]), at_once(number, answers);
    else if (!strcmp(mode, "paced")) paced(number, atof(arguments[6]) / 1e3);
    else bytes = strtoull(arguments[6], NULL, 0), at_once(number, *mode == 'd' ? down : up);
    seconds = now() - began;
    if (samples > MAX_SAMPLES) samples = MAX_SAMPLES;
    qsort(took, (size_t)samples, sizeof *took, compare);
    printf("{\"seconds\": %.4f, \"errors\": %d, \"samples\": %d, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", seconds, errors, samples,
           took[samples / 2] * 1e6, took[samples * 99 / 100] * 1e6);
    return errors != 0;
}

/* The load of the benchmark: load MODE SOCKS_PORT ORIGIN_PORT ...
 *   down|up FLOWS BYTES   that many bytes over each of so many flows at once
 *   echo COUNT            one byte there and back, so many times
 * Prints one line of JSON. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

static int socks_port, origin_port;
static volatile int errors;
static uint64_t bytes;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(char command, uint64_t size) {
    struct sockaddr_in proxy = {.sin_family = AF_INET, .sin_port = htons((uint16_t)socks_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned char reply[10], request[9] = {(unsigned char)command};
    unsigned char target[10] = {5, 1, 0, 1, 127, 0, 0, 1, (unsigned char)(origin_port >> 8), (unsigned char)origin_port};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = 8; i > 0; i--, size >>= 8) request[i] = (unsigned char)size;
    if (connect(fd, (void *)&proxy, sizeof proxy) == 0 && send_all(fd, "\5\1\0", 3) == 0 && receive_all(fd, reply, 2) == 0 &&
        send_all(fd, target, 10) == 0 && receive_all(fd, reply, 10) == 0 && reply[1] == 0 && send_all(fd, request, 9) == 0)
        return fd;
    close(fd);
    return -1;
}

static void *down(void *unused) {
    int fd = dial('D', bytes);
    if (fd < 0 || receive_pattern(fd, bytes)) __sync_fetch_and_add(&errors, 1);
    close(fd);
    return unused;
}

static void *up(void *unused) {
    char right = 0;
    int fd = dial('U', bytes);
    if (fd < 0 || send_pattern(fd, bytes) || receive_all(fd, &right, 1) || !right) __sync_fetch_and_add(&errors, 1);
    close(fd);
    return unused;
}

static int compare(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static int echo(int count) {
    double *took = calloc((size_t)count, sizeof *took);
    char byte = 1;
    int fd = dial('E', 0);
    if (fd < 0) return 1;
    for (int i = -200; i < count; i++) { /* the first 200 warm up */
        double began = now();
        if (send_all(fd, &byte, 1) || receive_all(fd, &byte, 1)) return 1;
        if (i >= 0) took[i] = now() - began;
    }
    qsort(took, (size_t)count, sizeof *took, compare);
    printf("{\"p50_us\": %.1f, \"p99_us\": %.1f}\n", took[count / 2] * 1e6, took[count * 99 / 100] * 1e6);
    return 0;
}

int main(int count, char **arguments) {
    pthread_t threads[256];
    double began;
    int flows;
    if (count < 5) return 2;
    signal(SIGPIPE, SIG_IGN);
    make_pattern();
    socks_port = atoi(arguments[2]), origin_port = atoi(arguments[3]), flows = atoi(arguments[4]);
    if (!strcmp(arguments[1], "echo")) return echo(flows);
    bytes = strtoull(arguments[5], NULL, 0);
    began = now();
    for (int i = 0; i < flows; i++) pthread_create(&threads[i], NULL, arguments[1][0] == 'd' ? down : up, NULL);
    for (int i = 0; i < flows; i++) pthread_join(threads[i], NULL);
    printf("{\"seconds\": %.3f, \"errors\": %d}\n", now() - began, errors);
    return errors != 0;
}

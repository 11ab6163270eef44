/* What both ends of the benchmark share: the pattern that is sent, and sending and receiving all of something. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PATTERN_SIZE 1048573 /* a prime, so that no unit size of a protocol hides a shift */
#define PIECE 131072

static unsigned char *pattern; /* PATTERN_SIZE bytes, and PIECE more that repeat the start */

static void make_pattern(void) {
    uint32_t x = 12345;
    pattern = malloc(PATTERN_SIZE + PIECE);
    for (int i = 0; i < PATTERN_SIZE; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        pattern[i] = (unsigned char)x;
    }
    memcpy(pattern + PATTERN_SIZE, pattern, PIECE);
}

static inline int send_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        at += sent, size -= (size_t)sent;
    }
    return 0;
}

static inline int receive_all(int fd, void *data, size_t size) {
    char *at = data;
    while (size) {
        ssize_t got = recv(fd, at, size, 0);
        if (got <= 0) return -1;
        at += got, size -= (size_t)got;
    }
    return 0;
}

static inline int send_pattern(int fd, uint64_t size) {
    for (uint64_t sent = 0; sent < size;) {
        size_t piece = size - sent < PIECE ? (size_t)(size - sent) : PIECE;
        if (send_all(fd, pattern + sent % PATTERN_SIZE, piece)) return -1;
        sent += piece;
    }
    return 0;
}

/* Receives `size` bytes and compares them with the pattern; returns 0 if all came and all are right. */
static inline int receive_pattern(int fd, uint64_t size) {
    char *buffer = malloc(PIECE);
    uint64_t done = 0;
    while (done < size) {
        size_t want = size - done < PIECE ? (size_t)(size - done) : PIECE;
        ssize_t got = recv(fd, buffer, want, 0);
        if (got <= 0 || memcmp(buffer, pattern + done % PATTERN_SIZE, (size_t)got)) break;
        done += (uint64_t)got;
    }
    free(buffer);
    return done == size ? 0 : -1;
}

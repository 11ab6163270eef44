/* The origin of the benchmark: origin HOST PORT; one thread per connection. A request is one letter and eight bytes, most significant first:
 * D n: sends n bytes of the pattern.  U n: receives n bytes, compares them, answers with one byte: 1 if all were right.
 * After these it waits for a byte before it ends, since a v2ray client loses what it has not delivered yet when it hears of the end.
 * E 0: sends back what comes.
 * Datagrams to the same port are sent back as they came. */
#define _GNU_SOURCE /* recvmmsg */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "pattern.h"

static void *serve(void *argument) {
    int fd = (int)(intptr_t)argument;
    unsigned char request[9];
    if (receive_all(fd, request, 9) == 0) {
        uint64_t size = 0;
        for (int i = 1; i < 9; i++) size = size << 8 | request[i];
        if (request[0] == 'D') {
            char seen;
            if (send_pattern(fd, size) == 0) receive_all(fd, &seen, 1);
        } else if (request[0] == 'U') {
            char seen, right = receive_pattern(fd, size) == 0;
            if (send_all(fd, &right, 1) == 0) receive_all(fd, &seen, 1);
        } else if (request[0] == 'E') {
            char data[65536];
            ssize_t got;
            while ((got = recv(fd, data, sizeof data, 0)) > 0 && send_all(fd, data, (size_t)got) == 0) {}
        }
    }
    close(fd);
    return NULL;
}

#define BATCH 64
#define DATAGRAM 2048

static void *send_back(void *argument) {
    static char data[BATCH][DATAGRAM];
    static struct sockaddr_in from[BATCH];
    static struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    int fd = (int)(intptr_t)argument;
    for (;;) {
        int got;
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){data[i], DATAGRAM};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < got; i++) parts[i].iov_len = messages[i].msg_len;
        for (int done = 0, some; done < got; done += some) /* who does not listen any more makes a send fail: the others get theirs */
            if ((some = sendmmsg(fd, messages + done, (unsigned)(got - done), 0)) <= 0) some = 1;
    }
    return NULL;
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1, large = 1 << 22, listener = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    pthread_t echo;
    pthread_attr_t small;
    if (count != 3 || inet_pton(AF_INET, arguments[1], &address.sin_addr) != 1) return 2;
    address.sin_port = htons((uint16_t)atoi(arguments[2]));
    signal(SIGPIPE, SIG_IGN);
    make_pattern();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("bind"), 1;
    setsockopt(datagrams, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    if (bind(datagrams, (void *)&address, sizeof address)) return perror("bind"), 1;
    pthread_create(&echo, NULL, send_back, (void *)(intptr_t)datagrams);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 262144);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, &small, serve, (void *)(intptr_t)fd)) close(fd);
    }
}

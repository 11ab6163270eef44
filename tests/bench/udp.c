/* Datagrams for the benchmark: udp SOCKS_PORT ORIGIN_HOST ORIGIN_PORT ASSOCIATIONS WINDOW SIZE SECONDS
 * Opens so many SOCKS5 associations, has a datagram go there and back over each, and then what is needed to warm up. Prints a line of JSON, and
 * waits for a line on stdin. Then, for so many seconds, keeps WINDOW datagrams of SIZE bytes on their way, so few that no socket overflows: for one
 * that came back, the next one goes over the next association. Prints another line. With 0 seconds: only the first line.
 * Each payload is its association, its place in the window, a number, and a part of the pattern that the number chooses; every byte is compared.
 * What is not back in time is lost, and the next one goes; what comes back over another association went astray. An association over which the first
 * one does not come back is opened anew: v2ray and Xray set SO_REUSEPORT on sockets without a fixed port, so that two associations may share one.
 * One thread, so that the load is never what limits. */
#define _GNU_SOURCE /* recvmmsg */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define LIMIT 1.0 /* seconds after which a datagram is lost */
#define FIRST_LIMIT 0.5
#define TRIES 20
#define WARM 0.3
#define MAX_WINDOW 64
#define MAX_SIZE 1472
#define MAX_SAMPLES 4000000
#define HEADER 10 /* of SOCKS, with an IPv4 address */

struct mark { /* what a payload begins with */
    uint32_t association, place;
    uint64_t number;
};

struct association {
    int control, fd;
};

static struct sockaddr_in proxy = {.sin_family = AF_INET}, origin = {.sin_family = AF_INET};
static struct association *associations;
static struct slot { /* a place in the window */
    struct mark mark; /* of the datagram that is on its way, or was the last one */
    double sent;
    int waiting;
} slots[MAX_WINDOW];
static int count, window, size, waiting, epoll;
static uint64_t lost, late, astray, wrong;
static float *took; /* seconds of each round trip */
static uint64_t trips;
static unsigned char header[HEADER] = {0, 0, 0, 1};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const unsigned char *rest(uint64_t number) { return pattern + number * 7919 % PATTERN_SIZE; }

/* Sends the next datagram of each of these places over one association. One that the kernel does not take is lost like any other. */
static void send_over(uint32_t association, const uint32_t *places, int number) {
    struct mmsghdr messages[MAX_WINDOW];
    struct iovec parts[MAX_WINDOW][3];
    double sent = now();
    memset(messages, 0, sizeof *messages * (size_t)number);
    for (int i = 0; i < number; i++) {
        struct slot *slot = &slots[places[i]];
        slot->mark = (struct mark){association, places[i], slot->mark.number + 1};
        slot->sent = sent, slot->waiting = 1, waiting++;
        parts[i][0] = (struct iovec){header, HEADER};
        parts[i][1] = (struct iovec){&slot->mark, sizeof slot->mark};
        parts[i][2] = (struct iovec){(void *)rest(slot->mark.number), (size_t)size - sizeof slot->mark};
        messages[i].msg_hdr.msg_iov = parts[i], messages[i].msg_hdr.msg_iovlen = 3;
    }
    for (int done = 0, some; done < number; done += some)
        if ((some = sendmmsg(associations[association].fd, messages + done, (unsigned)(number - done), 0)) <= 0) some = 1;
}

/* Sends the next datagrams of places that were over one association. */
static void send_next(uint32_t association, const uint32_t *places, int number) {
    static uint32_t next;
    if (count == 1) send_over(association, places, number);
    else
        for (int i = 0; i < number; i++) send_over(next = (next + 1) % (uint32_t)count, places + i, 1);
}

/* Looks at an answer; returns its place in the window, or -1 if it is not one that is waited for. One that went astray is back all the same. */
static int look(uint32_t association, const unsigned char *data, size_t length) {
    struct mark mark;
    struct slot *slot;
    if (length != HEADER + (size_t)size || memcmp(data, header, HEADER)) return wrong++, -1;
    memcpy(&mark, data + HEADER, sizeof mark);
    if (mark.association >= (uint32_t)count || mark.place >= (uint32_t)window) return wrong++, -1;
    slot = &slots[mark.place];
    if (mark.number > slot->mark.number || memcmp(data + HEADER + sizeof mark, rest(mark.number), (size_t)size - sizeof mark)) return wrong++, -1;
    if (mark.number < slot->mark.number || !slot->waiting) return late++, -1;
    astray += mark.association != association;
    slot->waiting = 0, waiting--;
    return (int)mark.place;
}

static void receive(uint32_t association, int more) {
    static unsigned char data[MAX_WINDOW][HEADER + MAX_SIZE + 1];
    struct mmsghdr messages[MAX_WINDOW];
    struct iovec parts[MAX_WINDOW];
    uint32_t places[MAX_WINDOW];
    double came;
    int got, right = 0;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < MAX_WINDOW; i++) {
        parts[i] = (struct iovec){data[i], sizeof data[i]};
        messages[i].msg_hdr.msg_iov = &parts[i], messages[i].msg_hdr.msg_iovlen = 1;
    }
    got = recvmmsg(associations[association].fd, messages, MAX_WINDOW, MSG_DONTWAIT, NULL);
    came = now();
    for (int i = 0; i < got; i++) {
        int place = look(association, data[i], messages[i].msg_len);
        if (place < 0) continue;
        if (trips < MAX_SAMPLES) took[trips] = (float)(came - slots[place].sent);
        trips++, places[right++] = (uint32_t)place;
    }
    if (more && right) send_next(association, places, right);
}

static void give_up(double before, int more) {
    for (uint32_t place = 0; place < (uint32_t)window; place++) {
        struct slot *slot = &slots[place];
        if (!slot->waiting || slot->sent > before) continue;
        slot->waiting = 0, waiting--, lost++;
        if (more) send_next(slot->mark.association, &place, 1);
    }
}

/* Keeps the window full for so long, and waits for what is on its way then. */
static void run(double seconds) {
    uint32_t places[MAX_WINDOW];
    double began = now(), looked = began, at = began;
    for (uint32_t place = 0; place < (uint32_t)window; place++) places[place] = place;
    send_next(0, places, window);
    while (waiting) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, 50), more = at < began + seconds;
        for (int i = 0; i < ready; i++) receive(events[i].data.u32, more);
        at = now();
        if (at > looked + 0.05) looked = at, give_up(at - LIMIT, more);
    }
}

/* Opens the two sockets of an association; returns 0 if the proxy agrees. */
static int associate(struct association *association, uint32_t index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    unsigned char request[10] = {5, 3, 0, 1}, reply[10];
    struct timeval limit = {20, 0};
    struct sockaddr_in relay = proxy;
    int fd = association->control = socket(AF_INET, SOCK_STREAM, 0), large = 1 << 20;
    association->fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(association->fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    if (connect(fd, (void *)&proxy, sizeof proxy) || send_all(fd, "\5\1\0", 3) || receive_all(fd, reply, 2) || send_all(fd, request, 10) ||
        receive_all(fd, reply, 10) || reply[1] || reply[3] != 1)
        return -1;
    if (memcmp(reply + 4, "\0\0\0\0", 4)) memcpy(&relay.sin_addr, reply + 4, 4);
    memcpy(&relay.sin_port, reply + 8, 2);
    return connect(association->fd, (void *)&relay, sizeof relay) || epoll_ctl(epoll, EPOLL_CTL_ADD, association->fd, &event) ? -1 : 0;
}

/* Opens an association over which a datagram went there and back. */
static int open_one(uint32_t index) {
    struct association *association = &associations[index];
    uint32_t first = 0;
    for (int try = 0; try < TRIES && associate(association, index) == 0; try++) {
        uint64_t before = astray;
        send_over(index, &first, 1);
        for (double until = now() + FIRST_LIMIT; slots[first].waiting && now() < until;) {
            struct epoll_event ready;
            if (epoll_wait(epoll, &ready, 1, 50) == 1) receive(ready.data.u32, 0);
        }
        if (!slots[first].waiting && astray == before) return 0;
        if (slots[first].waiting) slots[first].waiting = 0, waiting--;
        close(association->control), close(association->fd);
    }
    return -1;
}

static int compare(const void *a, const void *b) {
    float difference = *(const float *)a - *(const float *)b;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **arguments) {
    double seconds;
    uint64_t samples;
    int failed = 0;
    if (argc != 8) return 2;
    proxy.sin_addr.s_addr = htonl(INADDR_LOOPBACK), proxy.sin_port = htons((uint16_t)atoi(arguments[1]));
    inet_pton(AF_INET, arguments[2], &origin.sin_addr), origin.sin_port = htons((uint16_t)atoi(arguments[3]));
    memcpy(header + 4, &origin.sin_addr, 4), memcpy(header + 8, &origin.sin_port, 2);
    count = atoi(arguments[4]), window = atoi(arguments[5]), size = atoi(arguments[6]), seconds = atof(arguments[7]);
    if (count < 1 || window < 1 || window > MAX_WINDOW || size < (int)sizeof(struct mark) || size > MAX_SIZE) return 2;
    make_pattern();
    associations = calloc((size_t)count, sizeof *associations);
    took = calloc(MAX_SAMPLES, sizeof *took);
    epoll = epoll_create1(0);
    for (uint32_t index = 0; index < (uint32_t)count && !failed; index++) failed = open_one(index) != 0;
    if (!failed && seconds > 0) run(WARM);
    printf("{\"failed\": %d, \"wrong\": %" PRIu64 "}\n", failed, wrong), fflush(stdout);
    if (failed) return 1;
    getchar();
    if (seconds <= 0) return 0; /* the associations end with the process */
    lost = late = astray = wrong = trips = 0;
    run(seconds);
    samples = trips < MAX_SAMPLES ? trips : MAX_SAMPLES;
    qsort(took, samples, sizeof *took, compare);
    printf("{\"seconds\": %.4f, \"wrong\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"late\": %" PRIu64 ", ", seconds, wrong, lost, late);
    printf("\"astray\": %" PRIu64 ", \"round_trips\": %" PRIu64 ", ", astray, trips);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f}\n", took[samples / 2] * 1e6, took[samples * 99 / 100] * 1e6);
    return 0;
}

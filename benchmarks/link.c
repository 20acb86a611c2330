/* A long link between two network namespaces: delay, rate, loss and a bounded queue, each way.
 *
 *     link NAMESPACE HERE THERE DELAY_US BYTES_PER_SECOND LOSS_PER_MILLION QUEUE_US
 *
 * Makes the TUN device HERE in this namespace and THERE in the other one, writes "ready", and carries
 * packets between them until its standard input ends. What the kernels at both ends do is real TCP.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 16384
#define LARGEST 2048

struct packet { uint64_t due; int length; char bytes[LARGEST]; };
struct way { struct packet *ring; unsigned head, tail; uint64_t free_at; };

static void die(const char *what) { perror(what); exit(1); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int tun(const char *name) {
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (fd < 0) die("/dev/net/tun");
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) die("TUNSETIFF");
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 8) { fprintf(stderr, "usage: see the source\n"); return 2; }
    uint64_t delay = strtoull(argv[4], 0, 10) * 1000, rate = strtoull(argv[5], 0, 10);
    uint64_t loss = strtoull(argv[6], 0, 10), queue = strtoull(argv[7], 0, 10) * 1000;
    char path[256];
    snprintf(path, sizeof path, "/var/run/netns/%s", argv[1]);
    struct pollfd ends[3] = {{tun(argv[2]), POLLIN, 0}, {0, POLLIN, 0}, {0, POLLIN, 0}};
    int other = open(path, O_RDONLY);
    if (other < 0 || setns(other, CLONE_NEWNET) < 0) die(path);
    ends[1].fd = tun(argv[3]);
    ends[2].fd = STDIN_FILENO;
    struct way ways[2];
    memset(ways, 0, sizeof ways);
    for (int i = 0; i < 2; i++)
        if (!(ways[i].ring = malloc(SLOTS * sizeof(struct packet)))) die("malloc");
    srandom(1);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        uint64_t now = now_ns(), next = now + 1000000000u;
        for (int i = 0; i < 2; i++) {
            struct way *way = &ways[i];
            while (way->head != way->tail && way->ring[way->head % SLOTS].due <= now) {
                struct packet *p = &way->ring[way->head++ % SLOTS];
                if (write(ends[1 - i].fd, p->bytes, (size_t)p->length) < 0) { /* lost, as on any link */ }
            }
            if (way->head != way->tail && way->ring[way->head % SLOTS].due < next)
                next = way->ring[way->head % SLOTS].due;
        }
        struct timespec left = {(time_t)((next - now) / 1000000000u), (long)((next - now) % 1000000000u)};
        if (ppoll(ends, 3, &left, 0) < 0) die("ppoll");
        if (ends[2].revents) return 0;
        for (int i = 0; i < 2; i++) {
            struct way *way = &ways[i];
            for (int n = 0; n < 64; n++) {
                char bytes[LARGEST];
                ssize_t length = read(ends[i].fd, bytes, sizeof bytes);
                if (length <= 0) break;
                now = now_ns();
                if (way->free_at < now) way->free_at = now;
                if (way->free_at - now > queue || way->tail - way->head == SLOTS) continue;
                if ((uint64_t)random() % 1000000u < loss) continue;
                struct packet *p = &way->ring[way->tail++ % SLOTS];
                way->free_at += (uint64_t)length * 1000000000u / rate;
                p->due = way->free_at + delay;
                p->length = (int)length;
                memcpy(p->bytes, bytes, (size_t)length);
            }
        }
    }
}

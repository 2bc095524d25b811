/* qd DEVICE r|w s|r DEPTH MILLISECONDS: 4 KiB reads or writes, one after the other or at random places, as many at a time as DEPTH says, past the
   page cache. Prints requests per second. It stands alone: no C library is in the guest. */

typedef unsigned long u64;
typedef unsigned int u32;

enum { READ = 0, WRITE = 1, OPEN = 2, MMAP = 9, EXIT = 60, IO_SETUP = 206, IO_GETEVENTS = 208, IO_SUBMIT = 209, CLOCK_GETTIME = 228, IOCTL = 16 };
enum { RDWR = 2, DIRECT = 040000, BLKGETSIZE64 = 0x80081272, BLOCK = 4096, MAX_DEPTH = 256 };

/* struct iocb and struct io_event of linux/aio_abi.h */
struct request { u64 data; u32 key, flags; unsigned short opcode, priority; u32 fd; u64 buffer, bytes, offset, reserved; u32 more, event; };
struct event { u64 data, request; long result, result2; };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

static void say(const char *text, u64 number, int status)
{
    char line[80];
    int n = 0, digits = 0;
    char reversed[24];
    while (*text && n < 50) line[n++] = *text++;
    do reversed[digits++] = '0' + number % 10; while (number /= 10);
    while (digits) line[n++] = reversed[--digits];
    line[n++] = '\n';
    call(WRITE, 1, (long)line, n, 0, 0, 0);
    call(EXIT, status, 0, 0, 0, 0, 0);
}

static void check(long result, const char *what)
{
    if (result < 0) say(what, -result, 1);
}

static u64 number(const char *text)
{
    u64 value = 0;
    for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
    return value;
}

static u64 nanoseconds(void)
{
    long time[2];
    call(CLOCK_GETTIME, 1, (long)time, 0, 0, 0, 0);
    return time[0] * 1000000000UL + time[1];
}

static struct request requests[MAX_DEPTH];
static struct event events[MAX_DEPTH];

__attribute__((used)) static void run(long *stack)
{
    char **arguments = (char **)(stack + 1);
    if (stack[0] != 6) say("qd DEVICE r|w s|r DEPTH MILLISECONDS: arguments ", stack[0] - 1, 1);
    int is_write = arguments[2][0] == 'w', is_random = arguments[3][0] == 'r';
    u64 depth = number(arguments[4]), end, size = 0, next = 0, done = 0, seed = 88172645463325252UL, context = 0;
    if (depth < 1 || depth > MAX_DEPTH) say("depth ", depth, 1);
    long fd = call(OPEN, (long)arguments[1], RDWR | DIRECT, 0, 0, 0, 0);
    check(fd, "open: error ");
    check(call(IOCTL, fd, BLKGETSIZE64, (long)&size, 0, 0, 0), "size: error ");
    long memory = call(MMAP, 0, MAX_DEPTH * BLOCK, 3, 0x22, -1, 0);
    check(memory < 0 && memory > -4096 ? memory : 0, "memory: error ");
    check(call(IO_SETUP, MAX_DEPTH, (long)&context, 0, 0, 0, 0), "setup: error ");
    u64 blocks = size / BLOCK, start = nanoseconds();
    end = start + number(arguments[5]) * 1000000;
    u64 in_flight = 0, ready = depth, now = start;
    for (u64 i = 0; i < depth; i++) events[i].data = i;
    while (1) {
        /* What came back goes out again, all of it in one call. */
        struct request *list[MAX_DEPTH];
        now = nanoseconds();
        if (now >= end && !in_flight) break;
        if (now < end) {
            for (u64 i = 0; i < ready; i++) {
                struct request *r = &requests[events[i].data];
                seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                u64 block = is_random ? seed % blocks : next++ % blocks;
                *r = (struct request){ .data = events[i].data, .opcode = is_write, .fd = fd, .buffer = memory + events[i].data * BLOCK, .bytes = BLOCK, .offset = block * BLOCK };
                list[i] = r;
            }
            for (u64 sent = 0; sent < ready;) {
                long n = call(IO_SUBMIT, context, ready - sent, (long)(list + sent), 0, 0, 0);
                check(n, "submit: error ");
                sent += n;
            }
            in_flight += ready;
        }
        long n = call(IO_GETEVENTS, context, 1, MAX_DEPTH, (long)events, 0, 0);
        check(n, "events: error ");
        for (long i = 0; i < n; i++)
            if (events[i].result != BLOCK) say("request: result ", events[i].result < 0 ? -events[i].result : events[i].result, 1);
        ready = n;
        in_flight -= n;
        done += n;
    }
    say("", done * 1000000000UL / (now - start), 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");

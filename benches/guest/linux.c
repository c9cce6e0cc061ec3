/* The program for Linux: `suite [-u UNITS] [NAME...]` runs all kernels, or those named, and prints a
 * line for each: its name, the seconds it took and its checksum. System calls go through int 80h. */
#include "kernels.h"

enum { SYS_EXIT = 1, SYS_FORK = 2, SYS_READ = 3, SYS_WRITE = 4, SYS_CLOSE = 6, SYS_PIPE = 42, SYS_GETPPID = 64,
       SYS_MUNMAP = 91, SYS_WAIT4 = 114, SYS_MMAP2 = 192, SYS_CLOCK_GETTIME = 265 };

static int system_call(int number, u32 a, u32 b, u32 c, u32 d, u32 e)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

#define CALL0(n) system_call(n, 0, 0, 0, 0, 0)
#define CALL1(n, a) system_call(n, (u32)(a), 0, 0, 0, 0)
#define CALL2(n, a, b) system_call(n, (u32)(a), (u32)(b), 0, 0, 0)
#define CALL3(n, a, b, c) system_call(n, (u32)(a), (u32)(b), (u32)(c), 0, 0)

/* The compiler may ask for these. */
void *memcpy(void *to, const void *from, u32 n)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return result;
}

void *memset(void *to, int value, u32 n)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    return result;
}

static void die(const char *message)
{
    u32 n = 0;
    while (message[n])
        n++;
    CALL3(SYS_WRITE, 2, message, n);
    CALL1(SYS_EXIT, 1);
}

/* --- what only an operating system can be asked for */

static u32 getppid_calls(u32 units)
{
    u32 same = 0;
    int first = CALL0(SYS_GETPPID);
    while (units--)
        for (u32 i = 0; i < 1000; i++)
            same += CALL0(SYS_GETPPID) == first;
    return same;
}

/* A byte goes to a child process and comes back, once a round. */
static u32 pipe_rounds(u32 units)
{
    int there[2], back[2], child;
    u32 sum = 0, rounds = units * 20;
    u8 byte;
    if (CALL1(SYS_PIPE, there) < 0 || CALL1(SYS_PIPE, back) < 0)
        die("suite: no pipe\n");
    child = CALL0(SYS_FORK);
    if (child < 0)
        die("suite: no child process\n");
    if (child == 0) {
        CALL1(SYS_CLOSE, there[1]);
        while (CALL3(SYS_READ, there[0], &byte, 1) == 1) {
            byte += 1;
            CALL3(SYS_WRITE, back[1], &byte, 1);
        }
        CALL1(SYS_EXIT, 0);
    }
    for (u32 i = 0; i < rounds; i++) {
        byte = (u8)i;
        if (CALL3(SYS_WRITE, there[1], &byte, 1) != 1 || CALL3(SYS_READ, back[0], &byte, 1) != 1)
            die("suite: a pipe broke\n");
        sum = sum * 3 + byte;
    }
    CALL1(SYS_CLOSE, there[1]);
    CALL1(SYS_CLOSE, there[0]);
    system_call(SYS_WAIT4, (u32)child, 0, 0, 0, 0);
    CALL1(SYS_CLOSE, back[0]);
    CALL1(SYS_CLOSE, back[1]);
    return sum;
}

static u32 fork_and_wait(u32 units)
{
    u32 sum = 0, rounds = units * 2;
    for (u32 i = 0; i < rounds; i++) {
        int status = 0, child = CALL0(SYS_FORK);
        if (child < 0)
            die("suite: no child process\n");
        if (child == 0)
            CALL1(SYS_EXIT, i & 63);
        if (system_call(SYS_WAIT4, (u32)child, (u32)&status, 0, 0, 0) != child)
            die("suite: a child process got lost\n");
        sum = sum * 3 + ((u32)status >> 8);
    }
    return sum;
}

/* Touches fresh memory page by page: every touch is a page fault. */
static u32 page_faults(u32 units)
{
    const u32 pages = 256;
    u32 sum = 0;
    while (units--) {
        /* private and anonymous, readable and writable */
        u32 *area = (u32 *)system_call(SYS_MMAP2, 0, pages * 4096, 3, 0x22, (u32)-1);
        if ((u32)area > (u32)-4096)
            die("suite: no memory\n");
        for (u32 i = 0; i < pages; i++) {
            sum += area[i * 1024] + 1;
            area[i * 1024] = i;
        }
        CALL2(SYS_MUNMAP, area, pages * 4096);
    }
    return sum;
}

const struct kernel system_kernels[] = {
    {"getppid", getppid_calls}, {"pipe", pipe_rounds}, {"fork", fork_and_wait}, {"page-faults", page_faults}, {0, 0},
};

/* --- output and the choice of kernels */

static char line[128];
static u32 length;

static void put(char c)
{
    if (length < sizeof line)
        line[length++] = c;
}

static void put_text(const char *s)
{
    while (*s)
        put(*s++);
}

static void put_decimal(u32 value, u32 width)
{
    char digits[10];
    u32 n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0 || n < width);
    while (n > 0)
        put(digits[--n]);
}

static void put_hex(u32 value)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

struct time {
    int seconds, nanoseconds;
};

static struct time now(void)
{
    struct time t = {0, 0};
    CALL2(SYS_CLOCK_GETTIME, 1, &t); /* CLOCK_MONOTONIC */
    return t;
}

static int has_sse2(void)
{
    u32 a = 1, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return d >> 26 & 1;
}

static int needs_sse2(const char *name)
{
    for (; *name; name++)
        if (same(name, "-sse2"))
            return 1;
    return 0;
}

static void measure(const struct kernel *k, u32 units)
{
    struct time from, to;
    u32 checksum;
    length = 0;
    put_text(k->name);
    if (needs_sse2(k->name) && !has_sse2()) {
        put_text(" - no-sse2\n");
    } else {
        from = now();
        checksum = k->run(units);
        to = now();
        to.seconds -= from.seconds;
        to.nanoseconds -= from.nanoseconds;
        if (to.nanoseconds < 0) {
            to.nanoseconds += 1000000000;
            to.seconds -= 1;
        }
        put(' ');
        put_decimal((u32)to.seconds, 1);
        put('.');
        put_decimal((u32)to.nanoseconds / 1000, 6);
        put(' ');
        put_hex(checksum);
        put('\n');
    }
    CALL3(SYS_WRITE, 1, line, length);
}

static const struct kernel *const tables[] = {integer_kernels, memory_kernels, float_kernels, system_kernels};

__attribute__((used)) static void start_here(int *stack)
{
    int count = stack[0], first = 1;
    char **arguments = (char **)(stack + 1);
    u32 units = 100;
    if (count > 2 && same(arguments[1], "-u")) {
        units = 0;
        for (char *digit = arguments[2]; *digit >= '0' && *digit <= '9'; digit++)
            units = units * 10 + (u32)(*digit - '0');
        first = 3;
    }
    if (units == 0)
        die("usage: suite [-u UNITS] [NAME...]\n");
    for (u32 t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct kernel *k = tables[t]; k->name; k++) {
            int wanted = first >= count;
            for (int i = first; i < count; i++)
                wanted |= same(arguments[i], k->name);
            if (wanted)
                measure(k, units);
        }
    CALL1(SYS_EXIT, 0);
}

/* Linux starts a program with its arguments on the stack and nothing to return to. */
__asm__(".globl _start\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    movl %esp, %eax\n"
        "    andl $-16, %esp\n"
        "    subl $12, %esp\n"
        "    pushl %eax\n"
        "    call start_here\n");

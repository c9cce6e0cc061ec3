/* The image without an operating system: multiboot 1, 32-bit protected mode, no paging, no
 * interrupts. It runs the same kernels with a fixed number of units and prints `name checksum` to the
 * debug port E9h and to the first serial port, then ends through the debug-exit port F4h with the value
 * 10h (so the emulator's exit code is 33), or with 11h when a word of the command line names nothing.
 *
 * The command line chooses: names of kernels, or groups `integer` (the default), `memory`, `float`;
 * `units=N` sets the amount of work of the kernels named after it. */
#include "kernels.h"

enum { DEBUG_PORT = 0xE9, EXIT_PORT = 0xF4, SERIAL = 0x3F8 };

/* Multiboot 0.6.96, section 3.1: the header, with neither page alignment nor memory map wanted. */
__attribute__((section(".multiboot"), used)) static const u32 header[3] = {0x1BADB002, 0, -0x1BADB002};

struct multiboot_info {
    u32 flags, mem_lower, mem_upper, boot_device;
    const char *command_line; /* valid if bit 2 of flags is set */
};

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

static void out(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* 115200 baud, 8 data bits, no parity: out of reset the word length is 5 bits. */
static void open_serial(void)
{
    out(SERIAL + 3, 0x80); /* line control: the divisor latch */
    out(SERIAL + 0, 1);
    out(SERIAL + 1, 0);
    out(SERIAL + 3, 0x03);
    out(SERIAL + 1, 0); /* no interrupts */
}

static void put(char c)
{
    out(DEBUG_PORT, (u8)c);
    /* Line status, bit 5: the transmitter takes a byte. A port that is not there reads FFh. */
    for (u32 tries = 0; tries < 100000 && !(in(SERIAL + 5) & 0x20); tries++) {
    }
    out(SERIAL, (u8)c);
}

static void put_text(const char *s)
{
    while (*s)
        put(*s++);
}

static void put_hex(u32 value)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

/* Compares a word, which ends at a blank or at the end of the text, with a name. */
static int is_word(const char *word, const char *name)
{
    while (*name && *word == *name)
        word++, name++;
    return *name == 0 && (*word == 0 || *word == ' ');
}

static int starts_with(const char *word, const char *name)
{
    while (*name && *word == *name)
        word++, name++;
    return *name == 0;
}

static void run(const struct kernel *k, u32 units)
{
    put_text(k->name);
    put(' ');
    put_hex(k->run(units));
    put('\n');
}

static void run_all(const struct kernel *table, u32 units)
{
    for (; table->name; table++)
        run(table, units);
}

static int run_word(const char *word, u32 units)
{
    static const struct {
        const char *name;
        const struct kernel *table;
    } groups[] = {{"integer", integer_kernels}, {"memory", memory_kernels}, {"float", float_kernels}};
    for (u32 g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        if (is_word(word, groups[g].name)) {
            run_all(groups[g].table, units);
            return 1;
        }
        for (const struct kernel *k = groups[g].table; k->name; k++)
            if (is_word(word, k->name)) {
                run(k, units);
                return 1;
            }
    }
    return 0;
}

__attribute__((used)) static void start_here(u32 magic, const struct multiboot_info *info)
{
    u32 units = 20, chosen = 0, unknown = 0;
    const char *words = magic == 0x2BADB002 && (info->flags & 4) ? info->command_line : "";
    open_serial();
    /* The first word is the image's own name with most loaders, so words with a slash or dot are skipped. */
    for (const char *word = words; *word;) {
        const char *end = word;
        int is_path = 0;
        while (*end && *end != ' ')
            is_path |= *end == '/' || *end == '.', end++;
        if (starts_with(word, "units=")) {
            units = 0;
            for (const char *digit = word + 6; *digit >= '0' && *digit <= '9'; digit++)
                units = units * 10 + (u32)(*digit - '0');
        } else if (end > word && !is_path) {
            chosen++;
            if (!run_word(word, units)) {
                put_text("unknown word on the command line\n");
                unknown = 1;
            }
        }
        word = *end ? end + 1 : end;
    }
    if (chosen == 0)
        run_all(integer_kernels, units);
    put_text("done\n");
    out(EXIT_PORT, 0x10 + (u8)unknown);
    for (;;)
        __asm__ volatile("cli; hlt");
}

__attribute__((used, aligned(16))) static u8 stack[1 << 16];

/* The loader leaves EAX = magic and EBX = information. The FPU and SSE are switched on if CPUID has
 * them: CR0.EM off, CR0.MP on, CR4.OSFXSR and OSXMMEXCPT on. */
__asm__(".globl _start\n"
        "_start:\n"
        "    cli\n"
        "    movl $stack + 65536, %esp\n"
        "    movl %eax, %esi\n"
        "    movl %ebx, %edi\n"
        "    movl %cr0, %eax\n"
        "    andl $~0xC, %eax\n"
        "    orl $0x22, %eax\n"
        "    movl %eax, %cr0\n"
        "    fninit\n"
        "    movl $1, %eax\n"
        "    cpuid\n"
        "    testl $1 << 25, %edx\n"
        "    jz 1f\n"
        "    movl %cr4, %eax\n"
        "    orl $0x600, %eax\n"
        "    movl %eax, %cr4\n"
        "1:  pushl $0\n"
        "    pushl $0\n"
        "    pushl %edi\n"
        "    pushl %esi\n"
        "    call start_here\n");

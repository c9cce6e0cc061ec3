"""The other end of unicorn.rs: runs batches of cases on Unicorn's CPU.

One line of JSON on standard input says where everything lies; then commands follow, little-endian:
W address length bytes: write memory.  R address length: read it.  G selector address: run a batch, and answer with the
length of a text that says why there is no result, and the text.
"""

import json
import signal
import struct
import sys

import unicorn
from unicorn import x86_const as x86

SELECTORS = (x86.UC_X86_REG_ES, x86.UC_X86_REG_DS, x86.UC_X86_REG_FS, x86.UC_X86_REG_GS)
REGISTERS = (
    x86.UC_X86_REG_EAX,
    x86.UC_X86_REG_ECX,
    x86.UC_X86_REG_EDX,
    x86.UC_X86_REG_EBX,
    x86.UC_X86_REG_ESP,
    x86.UC_X86_REG_EBP,
    x86.UC_X86_REG_ESI,
    x86.UC_X86_REG_EDI,
)
# An address at which nothing is.
NOWHERE = 0xFFFFFFF0
# Bytes that a sound EFLAGS has: interrupts on, and bit 1.
PLAIN_FLAGS = 0x202
# What emu_start says where nothing is mapped or the mapping forbids it: Unicorn's own page faults.
UNMAPPED = (
    unicorn.UC_ERR_READ_UNMAPPED,
    unicorn.UC_ERR_WRITE_UNMAPPED,
    unicorn.UC_ERR_FETCH_UNMAPPED,
)


class Judge:
    def __init__(self, at):
        self.at = at
        self.events = []
        self.unmapped = []
        uc = self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
        # A model with SSE2 and CLFLUSH, and without the instructions that later took over encodings of theirs.
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_CORE2DUO)
        uc.mem_map(at["low"], at["length"])

    def set_up(self):
        """Once the tables are in memory."""
        uc, at = self.uc, self.at
        # CR0: PG, AM, WP, NE, ET, MP, PE. CR4: OSXMMEXCPT, OSFXSR, DE.
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, *at["gdtr"], 0))
        uc.reg_write(x86.UC_X86_REG_CR3, at["cr3"])
        uc.reg_write(x86.UC_X86_REG_CR4, 0x608)
        uc.reg_write(x86.UC_X86_REG_CR0, 0x80050033)
        uc.reg_write(x86.UC_X86_REG_LDTR, (*at["ldtr"], 0x8200))
        uc.reg_write(x86.UC_X86_REG_TR, (*at["tr"], 0x8B00))
        uc.reg_write(x86.UC_X86_REG_SS, at["supervisor_data"])
        uc.reg_write(x86.UC_X86_REG_CS, at["supervisor_code"])
        # IRET at the page's start leads to user mode.
        uc.mem_write(at["supervisor"], b"\xcf")
        uc.hook_add(unicorn.UC_HOOK_INTR, self.exception)
        uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self.nothing_there)
        self.supervisor = uc.context_save()

    def exception(self, uc, vector, _):
        self.events.append((vector, uc.reg_read(x86.UC_X86_REG_EIP), uc.reg_read(x86.UC_X86_REG_CR2)))
        uc.emu_stop()

    def nothing_there(self, uc, _access, address, _size, _value, _):
        self.unmapped.append(address & 0xFFFFFFFF)
        return False

    def word(self, address):
        return struct.unpack("<I", self.uc.mem_read(address, 4))[0]

    def control(self, name):
        return self.word(self.at["control"] + self.at[name])

    def start(self, address, until=NOWHERE):
        """Runs until an exception, and gives its vector, EIP and CR2, or None if there was none."""
        uc = self.uc
        # A run that an exception ended leaves a request to stop behind, which may end the next one at once.
        for _ in range(3):
            self.events.clear()
            self.unmapped.clear()
            before = uc.reg_read(x86.UC_X86_REG_EIP)
            error = None
            try:
                uc.emu_start(address, until)
            except unicorn.UcError as raised:
                error = raised
            after = uc.reg_read(x86.UC_X86_REG_EIP)
            if self.events:
                vector, eip, cr2 = self.events[0]
                # Breakpoints and overflows are traps: what counts is the return address.
                return vector, after if vector in (3, 4) else eip, cr2
            if error is not None:
                if error.errno == unicorn.UC_ERR_INSN_INVALID:
                    return 6, after, 0
                if error.errno in UNMAPPED and self.unmapped:
                    return 14, after, self.unmapped[-1]
                raise error
            if after != before:
                return None
        return None

    def is_code(self, address):
        return address // 0x10000 == self.at["code"] // 0x10000

    def enter(self, selector, address):
        """Goes to user mode, from a state in which no exception is being delivered."""
        uc, at = self.uc, self.at
        stack = at["supervisor"] + 0x800
        frame = struct.pack("<5I", address, selector, PLAIN_FLAGS, at["stack"], at["flat"])
        uc.mem_write(stack, frame)
        uc.reg_write(x86.UC_X86_REG_ESP, stack)
        return self.start(at["supervisor"])

    def batch(self, selector, address):
        """Runs until the loop over the records leaves. Gives what went wrong, or nothing."""
        uc, at = self.uc, self.at
        uc.context_restore(self.supervisor)
        event = self.enter(selector, address)
        while True:
            if event is None:
                return "it stopped at %x" % uc.reg_read(x86.UC_X86_REG_EIP)
            vector, eip, cr2 = event
            linear = (self.control("code_base") + eip) & 0xFFFFFFFF
            if 0 <= linear - at["code"] < at["harness_length"]:
                # The way out leads to a code segment that this CPU does not have.
                if vector == 13 and self.control("input") == self.control("end"):
                    return ""
                return "exception %d inside the harness at %x" % (vector, eip)
            self.note(vector, eip, cr2)
            after_fault, store_fx = self.control("after_fault"), self.control("store_fx")
            if self.control("fx_offset"):
                uc.reg_write(x86.UC_X86_REG_SS, at["flat"])
                uc.reg_write(x86.UC_X86_REG_ESP, at["stack"])
                uc.reg_write(x86.UC_X86_REG_EFLAGS, PLAIN_FLAGS)
                base = self.control("code_base")
                if self.start(store_fx, (base + after_fault) & 0xFFFFFFFF) is not None:
                    return "exception where the x87 state is stored"
            # Unicorn delivers no exception, so it never forgets one, and would make the next a double fault.
            segments = [(register, uc.reg_read(register)) for register in SELECTORS]
            uc.context_restore(self.supervisor)
            for register, value in segments:
                uc.reg_write(register, value)
            event = self.enter(selector, after_fault)

    def note(self, vector, eip, cr2):
        """Writes the state at an exception where the loop looks for it. Error codes cannot be had."""
        uc, at = self.uc, self.at
        scratch = at["control"] + at["scratch"]
        for offset, register in zip(at["gpr"], REGISTERS):
            uc.mem_write(scratch + offset, struct.pack("<I", uc.reg_read(register)))
        values = (uc.reg_read(x86.UC_X86_REG_EFLAGS), eip, vector, 0, cr2)
        for name, value in zip(("eflags", "eip", "vector", "error", "cr2"), values):
            uc.mem_write(scratch + at[name], struct.pack("<I", value & 0xFFFFFFFF))


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    judge = Judge(json.loads(source.readline()))
    ready = False
    while command := source.read(1):
        if command == b"G":
            if not ready:
                judge.set_up()
                ready = True
            selector, address = struct.unpack("<HI", source.read(6))
            # A batch that hangs ends this process.
            signal.setitimer(signal.ITIMER_PROF, 20)
            try:
                text = judge.batch(selector, address).encode()
            except unicorn.UcError as error:
                text = str(error).encode()
            signal.setitimer(signal.ITIMER_PROF, 0)
            sink.write(struct.pack("<I", len(text)) + text)
            sink.flush()
            continue
        address, length = struct.unpack("<II", source.read(8))
        if command == b"W":
            judge.uc.mem_write(address, source.read(length))
            if judge.is_code(address):
                # What was translated before it was written would run on.
                judge.uc.ctl_remove_cache(address, address + length)
        else:
            sink.write(judge.uc.mem_read(address, length))
            sink.flush()


main()

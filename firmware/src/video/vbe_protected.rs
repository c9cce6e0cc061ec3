//! int 10h AH=4Fh AL=0Ah: three of the VBE services as 32-bit code that a protected-mode program copies and calls near,
//! at privilege for the ports in the list behind them (VBE 3.0, "Return VBE Protected Mode Interface").

use crate::asm::{Builder, Emit, x86};
use crate::layout::frame;
use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use super::vbe::dispi;

/// Ports of the routines. A word at port 1CFh also reaches into port 1D0h.
const PORTS: &[u16] = &[0x1ce, 0x1cf, 0x1d0, 0x3c8, 0x3c9, 0x3da];
/// Bytes of the four offsets at the table's start.
const HEAD: u64 = 8;

pub fn emit(b: &mut Builder) -> Emit {
    let table = table()?;
    x86!(b;
        // BL = 0: ES:DI = the table, CX = its length.
        vbe_protected:
            or bl, bl;
            jnz @vbe_failed;
            mov word_ptr(bp + frame::ES), cs;
            mov word_ptr(bp + frame::DI), b.at("vbe_protected_table");
            mov word_ptr(bp + frame::CX), table.len() as u32;
            jmp @vbe_done;
        vbe_protected_table:
    );
    b.db(&table)
}

/// Offsets of the routines and of the list of ports and memory, all from the table's start; then what they name.
fn table() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    let mut parts = Parts {
        read: a.create_label(),
        write: a.create_label(),
        retrace: a.create_label(),
        done: a.create_label(),
        failed: a.create_label(),
    };
    let mut entries = [a.create_label(), a.create_label(), a.create_label()];
    a.set_label(&mut entries[0])?;
    set_window(&mut a, &parts)?;
    a.set_label(&mut entries[1])?;
    set_start(&mut a, &parts)?;
    a.set_label(&mut entries[2])?;
    set_palette(&mut a, &parts)?;
    parts.emit(&mut a)?;
    let code = a.assemble_options(HEAD, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let mut bytes = Vec::new();
    for entry in &entries {
        bytes.extend((code.label_ip(entry)? as u16).to_le_bytes());
    }
    bytes.extend((HEAD as u16 + code.inner.code_buffer.len() as u16).to_le_bytes());
    bytes.extend(&code.inner.code_buffer);
    // Ports, then memory, of which there is none; each list ends with FFFFh.
    for word in PORTS.iter().chain(&[0xffff, 0xffff]) {
        bytes.extend(word.to_le_bytes());
    }
    Ok(bytes)
}

/// What the routines share.
struct Parts {
    /// EAX = register AL of the display interface.
    read: CodeLabel,
    /// Register AL = CX. Changes EAX.
    write: CodeLabel,
    /// Waits for the start of a vertical retrace if BL is 80h. Changes EAX.
    retrace: CodeLabel,
    /// Ways out behind PUSHAD, with the status in AX.
    done: CodeLabel,
    failed: CodeLabel,
}

impl Parts {
    fn emit(&mut self, a: &mut CodeAssembler) -> Emit {
        a.set_label(&mut self.done)?;
        a.popad()?;
        a.mov(ax, 0x004f)?;
        a.ret()?;
        a.set_label(&mut self.failed)?;
        a.popad()?;
        a.mov(ax, 0x014f)?;
        a.ret()?;
        a.set_label(&mut self.read)?;
        a.push(edx)?;
        a.movzx(eax, al)?;
        a.mov(edx, 0x1ce)?;
        a.out(dx, ax)?;
        a.inc(edx)?;
        a.in_(ax, dx)?;
        a.pop(edx)?;
        a.ret()?;
        a.set_label(&mut self.write)?;
        a.push(edx)?;
        a.movzx(eax, al)?;
        a.mov(edx, 0x1ce)?;
        a.out(dx, ax)?;
        a.inc(edx)?;
        a.mov(eax, ecx)?;
        a.out(dx, ax)?;
        a.pop(edx)?;
        a.ret()?;
        a.set_label(&mut self.retrace)?;
        let (mut inside, mut before, mut out) = (a.create_label(), a.create_label(), a.create_label());
        a.cmp(bl, 0x80)?;
        a.jne(out)?;
        a.push(edx)?;
        a.push(ecx)?;
        a.mov(edx, 0x3da)?;
        a.mov(ecx, 0x7fff)?;
        a.set_label(&mut inside)?;
        a.in_(al, dx)?;
        a.test(al, 8)?;
        a.loopne(inside)?;
        a.mov(ecx, 0x7fff)?;
        a.set_label(&mut before)?;
        a.in_(al, dx)?;
        a.test(al, 8)?;
        a.loope(before)?;
        a.pop(ecx)?;
        a.pop(edx)?;
        a.set_label(&mut out)?;
        a.ret()
    }
}

/// As AL=05h with BH = 0: window BL at 64 KiB times DX.
fn set_window(a: &mut CodeAssembler, parts: &Parts) -> Emit {
    a.pushad()?;
    a.test(bx, bx)?;
    a.jne(parts.failed)?;
    a.movzx(ecx, dx)?;
    a.mov(al, dispi::BANK)?;
    a.call(parts.write)?;
    a.mov(al, dispi::BANK)?;
    a.call(parts.read)?;
    a.cmp(ax, cx)?;
    a.jne(parts.failed)?;
    a.jmp(parts.done)
}

/// As AL=07h with BL = 0 or 80h, but DX:CX is the address of what is shown first, in units of four bytes.
fn set_start(a: &mut CodeAssembler, parts: &Parts) -> Emit {
    a.pushad()?;
    a.test(bl, 0x7f)?;
    a.jne(parts.failed)?;
    a.call(parts.retrace)?;
    a.shl(edx, 16)?;
    a.mov(dx, cx)?;
    a.shl(edx, 2)?;
    a.mov(esi, edx)?;
    a.mov(al, dispi::BPP)?;
    a.call(parts.read)?;
    a.movzx(edi, ax)?;
    a.add(edi, 7)?;
    a.shr(edi, 3)?; // bytes of a pixel
    a.mov(al, dispi::VIRT_WIDTH)?;
    a.call(parts.read)?;
    a.movzx(ebx, ax)?;
    a.imul_2(ebx, edi)?;
    a.test(ebx, ebx)?;
    a.je(parts.failed)?;
    a.mov(eax, esi)?;
    a.xor(edx, edx)?;
    a.div(ebx)?;
    a.mov(ecx, eax)?;
    a.mov(al, dispi::Y_OFFSET)?;
    a.call(parts.write)?;
    a.mov(eax, edx)?;
    a.xor(edx, edx)?;
    a.div(edi)?;
    a.mov(ecx, eax)?;
    a.mov(al, dispi::X_OFFSET)?;
    a.call(parts.write)?;
    a.jmp(parts.done)
}

/// As AL=09h with BL = 0 or 80h: CX colours from DX on from ES:EDI.
fn set_palette(a: &mut CodeAssembler, parts: &Parts) -> Emit {
    a.pushad()?;
    a.test(bl, 0x7f)?;
    a.jne(parts.failed)?;
    a.movzx(ecx, cx)?;
    a.movzx(edx, dx)?;
    a.jecxz(parts.done)?;
    a.lea(eax, ptr(ecx + edx))?;
    a.cmp(eax, 256)?;
    a.ja(parts.failed)?;
    a.call(parts.retrace)?;
    a.mov(eax, edx)?;
    a.mov(edx, 0x3c8)?;
    a.out(dx, al)?;
    a.inc(edx)?;
    let mut next = a.create_label();
    a.set_label(&mut next)?;
    for component in [2, 1, 0] {
        a.mov(al, byte_ptr(edi + component).es())?;
        a.out(dx, al)?;
    }
    a.add(edi, 4)?;
    a.loop_(next)?;
    a.jmp(parts.done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_code_and_ports_inside_itself() -> Result<(), IcedError> {
        let table = table()?;
        let word = |at: usize| u16::from_le_bytes([table[at], table[at + 1]]);
        let list = usize::from(word(6));
        for entry in [0, 2, 4] {
            let at = usize::from(word(entry));
            assert!((8..list).contains(&at));
            assert_eq!(table[at], 0x60, "each routine begins with PUSHAD");
        }
        let ports: Vec<u16> = (list..table.len()).step_by(2).map(word).collect();
        assert_eq!(ports[..PORTS.len()], *PORTS);
        assert_eq!(ports[PORTS.len()..], [0xffff; 2]);
        Ok(())
    }
}

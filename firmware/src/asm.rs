//! A symbolic layer over iced-x86's `code_asm`: named labels, data, and addresses of labels as constants.
//!
//! `code_asm` resolves branch targets, but in 16-bit code it cannot put a label's address into an immediate or a
//! displacement. The firmware needs that for every table and message, so a part is assembled repeatedly: each pass
//! uses the addresses of the pass before it, until no address moves.

use iced_x86::code_asm::{CodeAssembler, CodeLabel};
use iced_x86::{BlockEncoderOptions, IcedError};
use std::collections::BTreeMap;

/// What every emitting function returns.
pub type Emit = Result<(), IcedError>;

/// Offsets of global labels (`name`) and local ones (`name.local`) in their segment.
pub type Symbols = BTreeMap<String, u16>;

/// Stand-in for an address that the first pass does not know: large enough to need a 16-bit encoding.
const UNKNOWN: u16 = 0x7ff0;

/// Assembles one segment's worth of code and data.
pub struct Builder {
    /// The instruction sink. The `x86!` macro writes to it.
    pub asm: CodeAssembler,
    bits: u32,
    labels: BTreeMap<String, CodeLabel>,
    defined: BTreeMap<String, usize>,
    known: Symbols,
    scope: String,
    label_at: Option<usize>,
}

impl Builder {
    fn new(bits: u32, known: Symbols) -> Result<Self, IcedError> {
        let (asm, scope) = (CodeAssembler::new(bits)?, String::new());
        Ok(Self { asm, bits, labels: BTreeMap::new(), defined: BTreeMap::new(), known, scope, label_at: None })
    }

    /// Whether this is 32-bit code. What uses registers, stack and ports only can be written once for both.
    #[must_use]
    pub fn is_32(&self) -> bool {
        self.bits == 32
    }

    /// Address of a label within the segment, for use as an immediate or a displacement.
    #[must_use]
    pub fn at(&self, name: &str) -> i32 {
        i32::from(self.known.get(name).copied().unwrap_or(UNKNOWN))
    }

    /// The label `name`, defined or not yet. Branches use it.
    pub fn global(&mut self, name: &str) -> CodeLabel {
        if let Some(label) = self.labels.get(name) {
            return *label;
        }
        let label = self.asm.create_label();
        self.labels.insert(name.to_owned(), label);
        label
    }

    /// The label `.name` of the function being assembled.
    pub fn local(&mut self, name: &str) -> CodeLabel {
        let full = format!("{}.{name}", self.scope);
        self.global(&full)
    }

    /// Defines the global label `name` here and makes it the scope of the local labels that follow.
    ///
    /// # Errors
    /// The name is defined twice.
    pub fn define(&mut self, name: &str) -> Emit {
        self.scope = name.to_owned();
        self.define_full(name.to_owned())
    }

    /// Defines the local label `.name` here.
    ///
    /// # Errors
    /// The name is defined twice in this function.
    pub fn define_local(&mut self, name: &str) -> Emit {
        self.define_full(format!("{}.{name}", self.scope))
    }

    fn define_full(&mut self, full: String) -> Emit {
        // An instruction holds at most one label; an empty one makes room for the next.
        if self.label_at == Some(self.asm.instructions().len()) {
            self.asm.zero_bytes()?;
        }
        let mut label = self.global(&full);
        self.asm.set_label(&mut label)?;
        self.labels.insert(full.clone(), label);
        self.label_at = Some(self.asm.instructions().len());
        assert!(self.defined.insert(full.clone(), 0).is_none(), "label {full} is defined twice");
        Ok(())
    }

    /// Emits bytes.
    ///
    /// # Errors
    /// None in practice; the assembler's type asks for it.
    pub fn db(&mut self, bytes: &[u8]) -> Emit {
        self.asm.db(bytes)
    }

    /// Emits text and a terminating zero.
    ///
    /// # Errors
    /// None in practice; the assembler's type asks for it.
    pub fn text(&mut self, text: &str) -> Emit {
        self.asm.db(text.as_bytes())?;
        self.asm.db(&[0])
    }

    /// Emits the addresses of labels as 16-bit words.
    ///
    /// # Errors
    /// None in practice; the assembler's type asks for it.
    pub fn addresses(&mut self, names: &[&str]) -> Emit {
        for name in names {
            let [low, high, ..] = self.at(name).to_le_bytes();
            self.asm.db(&[low, high])?;
        }
        Ok(())
    }

    /// Emits a jump table that `jmp word cs:[bx + table]` uses: `count` words, `default` where nothing is named.
    ///
    /// # Errors
    /// None in practice; the assembler's type asks for it.
    pub fn jump_table(&mut self, count: usize, default: &str, entries: &[(usize, &str)]) -> Emit {
        let mut names = vec![default; count];
        for (index, name) in entries {
            names[*index] = name;
        }
        self.addresses(&names)
    }
}

/// Assembles the 16-bit code that `emit` writes, starting at offset `base` of its segment.
///
/// # Panics
/// On an undefined or doubly defined label or an instruction that does not exist in 16-bit code: these are errors in
/// the firmware's source, and its tests assemble all of it.
pub fn assemble(base: u16, emit: &dyn Fn(&mut Builder) -> Emit) -> (Vec<u8>, Symbols) {
    assemble_bits(16, base, emit)
}

/// [`assemble`] for 32-bit code.
///
/// # Panics
/// As `assemble`.
pub fn assemble_32(base: u16, emit: &dyn Fn(&mut Builder) -> Emit) -> (Vec<u8>, Symbols) {
    assemble_bits(32, base, emit)
}

fn assemble_bits(bits: u32, base: u16, emit: &dyn Fn(&mut Builder) -> Emit) -> (Vec<u8>, Symbols) {
    let mut known = Symbols::new();
    for _ in 0..8 {
        let mut builder = Builder::new(bits, known.clone()).expect("16-bit and 32-bit code are supported");
        emit(&mut builder).expect("firmware source assembles");
        builder.asm.zero_bytes().expect("an empty instruction is always accepted");
        for name in builder.labels.keys() {
            assert!(builder.defined.contains_key(name), "label {name} is used but not defined");
        }
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let result = builder.asm.assemble_options(u64::from(base), options).expect("firmware encodes");
        let mut symbols = Symbols::new();
        for (name, label) in &builder.labels {
            let address = result.label_ip(label).expect("every label is bound to an instruction");
            symbols.insert(name.clone(), u16::try_from(address).expect("the segment holds 64 KiB"));
        }
        if symbols == known {
            return (result.inner.code_buffer, symbols);
        }
        known = symbols;
    }
    panic!("addresses do not settle");
}

/// Assembly in the manual's operand order, one statement per line.
///
/// `name:` defines a global label and `.name:` a local one; `jmp @name;` and `jz .name;` branch to them;
/// `rep op;` and `cs op;` prefix a string operation; every other statement is a `code_asm` method with its operands.
macro_rules! x86 {
    ($b:ident;) => {};
    ($b:ident; rep $m:ident ; $($rest:tt)*) => { $b.asm.rep().$m()?; x86!($b; $($rest)*); };
    ($b:ident; repe $m:ident ; $($rest:tt)*) => { $b.asm.repe().$m()?; x86!($b; $($rest)*); };
    ($b:ident; cs $m:ident ; $($rest:tt)*) => { $b.asm.db(&[0x2e])?; $b.asm.$m()?; x86!($b; $($rest)*); };
    ($b:ident; $l:ident : $($rest:tt)*) => { $b.define(stringify!($l))?; x86!($b; $($rest)*); };
    ($b:ident; . $l:ident : $($rest:tt)*) => { $b.define_local(stringify!($l))?; x86!($b; $($rest)*); };
    ($b:ident; $m:ident @ $l:ident ; $($rest:tt)*) => {
        let label = $b.global(stringify!($l));
        $b.asm.$m(label)?;
        x86!($b; $($rest)*);
    };
    ($b:ident; $m:ident . $l:ident ; $($rest:tt)*) => {
        let label = $b.local(stringify!($l));
        $b.asm.$m(label)?;
        x86!($b; $($rest)*);
    };
    ($b:ident; $m:ident $($op:expr),* ; $($rest:tt)*) => { $b.asm.$m($($op),*)?; x86!($b; $($rest)*); };
}
pub(crate) use x86;

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::code_asm::*;

    #[test]
    fn labels_branches_and_addresses_agree() {
        let (code, symbols) = assemble(0x8000, &|b| {
            x86!(b;
                start:
                    mov si, b.at("message");
                    mov al, byte_ptr(b.at("message")).cs();
                    mov ah, byte_ptr(bp);
                    mov ah, byte_ptr(si + b.at("message"));
                .again:
                    jmp .again;
                empty:
                message:
            );
            b.text("hi")
        });
        assert_eq!(symbols["message"], symbols["empty"]);
        let message = symbols["message"];
        assert_eq!(code[..3], [0xbe, message as u8, (message >> 8) as u8]);
        assert_eq!(code[3..7], [0x2e, 0xa0, message as u8, (message >> 8) as u8]);
        assert_eq!(code[7..10], [0x8a, 0x66, 0]);
        assert_eq!(code[10..14], [0x8a, 0xa4, message as u8, (message >> 8) as u8]);
        assert_eq!(code[14..], [0xeb, 0xfe, b'h', b'i', 0]);
        assert_eq!(message, 0x8010);
    }
}

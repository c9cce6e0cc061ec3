//! A thin layer over iced's `CodeAssembler`: named addresses, mixed 16- and 32-bit chunks, fixed load address.
//!
//! An image is assembled several times until no address moves any more, so any instruction may use the address of
//! any name as an immediate, a displacement or a branch target.

use std::collections::BTreeMap;

use iced_x86::code_asm::{CodeAssembler, CodeLabel};
use iced_x86::{BlockEncoderOptions, IcedError};

/// What every emitting function returns: iced reports operands it cannot encode.
pub type Emit = Result<(), IcedError>;

/// Writes a run of instructions: `code!(t; mov(eax, 1); rep().movsb(); ret())`. Any operand may name `t` itself.
macro_rules! code {
    (@ $t:expr, $op:ident()) => { $t.a.$op()?; };
    (@ $t:expr, $op:ident($x:expr)) => {{ let x = $x; $t.a.$op(x)?; }};
    (@ $t:expr, $op:ident($x:expr, $y:expr)) => {{ let (x, y) = ($x, $y); $t.a.$op(x, y)?; }};
    (@ $t:expr, $op:ident($x:expr, $y:expr, $z:expr)) => {{ let (x, y, z) = ($x, $y, $z); $t.a.$op(x, y, z)?; }};
    (@ $t:expr, $prefix:ident().$op:ident($($x:expr),*)) => { $t.a.$prefix().$op($($x),*)?; };
    ($t:expr; $($op:ident($($x:expr),* $(,)?) $(.$more:ident($($y:expr),*))?);* $(;)?) => {{
        $( $crate::asm::code!(@ $t, $op($($x),*) $(.$more($($y),*))?); )*
    }};
}
pub(crate) use code;

/// A closure that writes a run of instructions: `ins!(t; ud2())`.
macro_rules! ins {
    ($t:ident; $($code:tt)*) => { |$t| { $crate::asm::code!($t; $($code)*); Ok(()) } };
}
pub(crate) use ins;

/// The assembler of one image.
pub struct Asm {
    /// The instructions of the chunk being written.
    pub a: CodeAssembler,
    base: u32,
    bytes: Vec<u8>,
    chunk: Vec<(String, CodeLabel)>,
    defined: BTreeMap<String, u32>,
    previous: BTreeMap<String, u32>,
    missing: std::cell::RefCell<Vec<String>>,
    unique: u32,
    strings: Vec<(String, Vec<u8>)>,
}

impl Asm {
    /// A name that occurs nowhere else in this image, starting with `stem`.
    pub fn fresh(&mut self, stem: &str) -> String {
        self.unique += 1;
        format!("{stem}.{}", self.unique)
    }

    /// Gives the next instruction or datum the name `name`.
    pub fn here(&mut self, name: &str) -> Emit {
        let mut label = self.a.create_label();
        self.a.set_label(&mut label)?;
        self.a.zero_bytes()?;
        self.chunk.push((name.to_owned(), label));
        Ok(())
    }

    /// The address of `name`, for use as an immediate or a displacement.
    pub fn addr(&self, name: &str) -> u32 {
        self.previous.get(name).copied().unwrap_or_else(|| {
            self.missing.borrow_mut().push(name.to_owned());
            // Far from every instruction, so that the first pass uses the long forms and later passes only shrink.
            self.base ^ 0x4000
        })
    }

    /// The address of `name` as a branch target.
    pub fn at(&self, name: &str) -> u64 {
        u64::from(self.addr(name))
    }

    /// Whether `name` has been defined by an earlier pass.
    pub fn is_known(&self, name: &str) -> bool {
        self.previous.contains_key(name)
    }

    /// Ends the chunk and goes on in code of `bitness` (16 or 32).
    pub fn bits(&mut self, bitness: u32) -> Emit {
        self.flush()?;
        self.a = CodeAssembler::new(bitness)?;
        Ok(())
    }

    /// Fills with zeros up to a multiple of `to` bytes, counted from the load address.
    pub fn align(&mut self, to: usize) -> Emit {
        let bitness = self.a.bitness();
        self.bits(bitness)?;
        while !self.bytes.len().is_multiple_of(to) {
            self.bytes.push(0);
        }
        Ok(())
    }

    /// Text or other bytes.
    pub fn text(&mut self, bytes: &[u8]) -> Emit {
        if bytes.is_empty() { Ok(()) } else { self.a.db(bytes) }
    }

    /// The address of a zero-terminated text, which `pool` puts into the image.
    pub fn string(&mut self, text: &str) -> u32 {
        let name = self.fresh("string");
        let at = self.addr(&name);
        self.strings.push((name, text.bytes().chain([0]).collect()));
        at
    }

    /// Puts the texts collected so far here.
    pub fn pool(&mut self) -> Emit {
        for (name, bytes) in std::mem::take(&mut self.strings) {
            self.here(&name)?;
            self.text(&bytes)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Emit {
        let start = u64::from(self.base) + self.bytes.len() as u64;
        if !self.a.instructions().is_empty() {
            let done = self.a.assemble_options(start, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
            for (name, label) in self.chunk.drain(..) {
                let at = done.label_ip(&label)? as u32;
                assert!(self.defined.insert(name.clone(), at).is_none(), "{name} is defined twice");
            }
            self.bytes.extend(done.inner.code_buffer);
        }
        Ok(())
    }
}

/// Assembles `body` for the load address `base`, beginning in code of `bitness`.
pub fn assemble(base: u32, bitness: u32, body: &dyn Fn(&mut Asm) -> Emit) -> Result<Vec<u8>, IcedError> {
    let mut previous = BTreeMap::new();
    let mut bytes = Vec::new();
    for _ in 0..24 {
        let mut asm = Asm {
            a: CodeAssembler::new(bitness)?,
            base,
            bytes: Vec::new(),
            chunk: Vec::new(),
            defined: BTreeMap::new(),
            previous: std::mem::take(&mut previous),
            missing: Default::default(),
            unique: 0,
            strings: Vec::new(),
        };
        body(&mut asm)?;
        asm.flush()?;
        let known = !asm.previous.is_empty();
        let missing = asm.missing.into_inner();
        assert!(!known || missing.is_empty(), "no such name: {missing:?}");
        let settled = asm.defined == asm.previous && asm.bytes == bytes;
        previous = asm.defined;
        bytes = asm.bytes;
        if settled {
            return Ok(bytes);
        }
    }
    panic!("the addresses of the image do not settle");
}

/// Assembles code that is copied elsewhere before it runs, such as a virtual-8086 program, for the address `at`.
pub fn blob(at: u32, bitness: u32, body: &dyn Fn(&mut Asm) -> Emit) -> Result<Vec<u8>, IcedError> {
    assemble(at, bitness, body)
}

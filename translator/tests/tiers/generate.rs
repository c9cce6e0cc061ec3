//! Random programs: pieces of code with references to each other, so that pieces can be dropped from a program that
//! shows a difference.

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    /// A value with a liking for edges.
    pub fn edge(&mut self) -> u32 {
        match self.below(6) {
            0 => self.below(4) as u32,
            1 => 0xffff_ffff - self.below(4) as u32,
            2 => 0x7fff_fffe + self.below(4) as u32,
            3 => self.pick(&[0x80, 0xff, 0x7f, 0x8000, 0xffff, 0x7fff, 0x100, 0x1_0000]),
            _ => self.next() as u32,
        }
    }
}

/// How many bytes a reference takes, and what it says.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Distance from the byte behind it.
    Near(usize),
    /// Offset in the code segment.
    Offset(usize),
}

/// A place in a piece that names another piece.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    pub at: usize,
    pub to: usize,
    pub add: i32,
    pub kind: Kind,
}

/// A few instructions that stay together.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    pub bytes: Vec<u8>,
    pub references: Vec<Reference>,
}

/// What a program is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Theme {
    /// Arithmetic, flags, loops, calls.
    Plain,
    /// Code that rewrites itself.
    Rewrite,
    /// Page tables, faults, restarts.
    Paging,
    /// Real mode and 16-bit segments.
    Short,
    /// External interrupts at exact counts.
    Interrupts,
}

/// Offsets that the distance between a code address and its alias has under paging.
pub const ALIAS: i32 = 0x7_0000;
pub const STACK: u32 = 0xfff0;

pub struct Generator<'a> {
    pub r: &'a mut Random,
    pub theme: Theme,
    pub wide: bool,
    pub user: bool,
    pub aliases: bool,
    pieces: usize,
    index: usize,
    piece: Piece,
}

/// One-byte instructions that rewritten code is made of.
const HARMLESS: [u8; 22] = [
    0x40, 0x41, 0x42, 0x43, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4d, 0x90, 0xf8, 0xf9, 0xf5, 0x98, 0x99, 0x27,
    0x9f, 0x37, 0x2f,
];

impl<'a> Generator<'a> {
    pub fn new(r: &'a mut Random, theme: Theme, wide: bool, user: bool, aliases: bool) -> Self {
        Generator { r, theme, wide, user, aliases, pieces: 0, index: 0, piece: Piece::default() }
    }

    pub fn program(&mut self) -> Vec<Piece> {
        self.pieces = 8 + self.r.below(40) as usize;
        (0..self.pieces)
            .map(|i| {
                self.index = i;
                self.piece = Piece::default();
                self.next_piece();
                std::mem::take(&mut self.piece)
            })
            .collect()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.piece.bytes.extend_from_slice(bytes);
    }

    /// An immediate of the default operand size.
    fn imm(&mut self, v: u32) {
        let n = if self.wide { 4 } else { 2 };
        self.put(&v.to_le_bytes()[..n]);
    }

    fn word(&self) -> usize {
        if self.wide { 4 } else { 2 }
    }

    fn refer(&mut self, to: usize, add: i32, kind: Kind) {
        let at = self.piece.bytes.len();
        let n = match kind {
            Kind::Near(n) | Kind::Offset(n) => n,
        };
        self.piece.references.push(Reference { at, to, add, kind });
        self.put(&[0; 4][..n]);
    }

    /// A piece to jump to: often a near one behind, for loops.
    fn somewhere(&mut self) -> usize {
        match self.r.below(3) {
            0 => self.index.saturating_sub(self.r.below(6) as usize),
            1 => (self.index + 1 + self.r.below(5) as usize).min(self.pieces - 1),
            _ => self.r.below(self.pieces as u64) as usize,
        }
    }

    /// A piece to rewrite, and the distance to add.
    fn victim(&mut self) -> (usize, i32) {
        let near = self.index + self.r.below(4) as usize;
        let to = if self.r.chance(3) { self.r.below(self.pieces as u64) as usize } else { near.min(self.pieces - 1) };
        let alias = if self.aliases && self.r.chance(2) { ALIAS } else { 0 };
        (to, self.r.below(8) as i32 - 1 + alias)
    }

    fn area(&mut self) -> u32 {
        let a = match self.r.below(16) {
            0..=6 => 0x2_0000 + self.r.below(0x40) as u32,
            7 | 8 => 0x2_0ffa + self.r.below(8) as u32,
            9 => 0x2_0000 + self.r.below(0x4000) as u32,
            10 | 11 => 0x1_0000 + self.r.below(0x1400) as u32,
            12 => 0xff00 + self.r.below(0xe0) as u32,
            13 => 0x3_fffa + self.r.below(8) as u32,
            14 => 0x5_0000 + self.r.below(0x40) as u32,
            _ => 0x2_fff8 + self.r.below(16) as u32,
        };
        let code = (0x1_0000..0x2_0000).contains(&a);
        match self.theme {
            Theme::Rewrite | Theme::Paging if code && self.aliases && self.r.chance(2) => a + ALIAS as u32,
            Theme::Rewrite => a,
            _ if code && !self.r.chance(4) => 0x2_0000 + (a & 0xfff),
            _ => a,
        }
    }

    fn reg(&mut self) -> u8 {
        if self.r.chance(60) { 4 } else { self.r.pick(&[0, 1, 2, 3, 5, 6, 7]) }
    }

    fn prefixes(&mut self) {
        if self.r.chance(6) {
            self.put(&[0x66]);
        }
    }

    /// ModRM with field `reg`; `memory` for operands that must not be registers.
    fn modrm(&mut self, reg: u8, memory: bool) {
        let reg = reg << 3;
        let form = if memory { 5 + self.r.below(5) } else { self.r.below(10) };
        match (form, self.wide) {
            (0..=4, _) => {
                let rm = self.reg();
                self.put(&[0xc0 | reg | rm]);
            }
            (5 | 6, true) => {
                let a = self.area();
                self.put(&[reg | 5]);
                self.put(&a.to_le_bytes());
            }
            (5 | 6, false) => {
                let a = self.area();
                self.put(&[reg | 6]);
                self.put(&a.to_le_bytes()[..2]);
            }
            (9, true) => {
                let base = self.r.pick(&[3, 6, 7]);
                let scale = self.r.below(4) as u8;
                self.put(&[0x40 | reg | 4, scale << 6 | 1 << 3 | base, scale << 5]);
            }
            (_, true) => {
                let base = self.r.pick(&[3, 5, 6, 7]);
                let d = self.r.below(24) as u8;
                self.put(&[0x40 | reg | base, d.wrapping_sub(8)]);
            }
            (_, false) => {
                let base = self.r.below(8) as u8;
                let d = self.r.below(24) as u8;
                self.put(&[0x40 | reg | base, d.wrapping_sub(8)]);
            }
        }
    }

    /// Segment prefix of a memory operand that follows, sometimes.
    fn segment(&mut self) {
        if self.r.chance(if self.wide { 20 } else { 4 }) {
            let p = self.r.pick(&[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]);
            self.put(&[p]);
        }
    }

    fn point(&mut self) {
        // Points the registers that addresses are made of at something.
        let reg = self.r.pick(&[3, 5, 6, 7, 6, 7]);
        let a = self.area();
        self.put(&[0xb8 | reg]);
        self.imm(a);
        if self.r.chance(3) {
            let n = self.r.below(20) as u32;
            self.put(&[0xb9]);
            self.imm(n);
        }
    }

    fn stack(&mut self) {
        self.put(&[0xbc]);
        let odd = if self.r.chance(4) { self.r.below(16) as u32 } else { 0 };
        let top = if self.r.chance(6) { 0x9002 } else { STACK };
        self.imm(top - odd);
    }

    fn next_piece(&mut self) {
        let special = match self.theme {
            Theme::Plain => 0,
            Theme::Rewrite => 5,
            Theme::Paging => 3,
            Theme::Short => 2,
            Theme::Interrupts => 3,
        };
        if self.r.below(16) < special {
            match self.theme {
                Theme::Paging if !self.r.chance(4) => self.tables(),
                Theme::Interrupts => self.shadows(),
                _ => self.rewrite(),
            }
            return;
        }
        match self.r.below(24) {
            0..=2 => self.point(),
            3 => self.stack(),
            4..=7 => self.control(),
            8 => self.float(),
            9 => self.vector(),
            10 => self.string(),
            11 => self.system(),
            _ => self.integer(),
        }
    }

    fn integer(&mut self) {
        self.segment();
        self.prefixes();
        let size16 = self.piece.bytes.contains(&0x66) == self.wide;
        let imm = if size16 { 2 } else { 4 };
        let v = self.r.edge().to_le_bytes();
        let reg = self.reg();
        let byte = self.r.below(2) as u8;
        match self.r.below(27) {
            0..=4 => {
                let op = (self.r.below(8) as u8) << 3 | self.r.below(4) as u8;
                self.put(&[op]);
                self.modrm(reg, false);
            }
            5 => {
                let op = self.r.below(8) as u8;
                self.put(&[0x81]);
                self.modrm(op, false);
                self.put(&v[..imm]);
            }
            6 => {
                let op = self.r.below(8) as u8;
                let code = self.r.pick(&[0x80, 0x83]);
                self.put(&[code]);
                self.modrm(op, false);
                self.put(&v[..1]);
            }
            7 => {
                let op = self.r.pick(&[0x40, 0x48]);
                self.put(&[op | reg]);
            }
            8 => {
                let op = self.r.below(2) as u8;
                self.put(&[0xfe | byte]);
                self.modrm(op, false);
            }
            9 => {
                let op = self.r.pick(&[0x50, 0x58]);
                self.put(&[op | reg]);
            }
            10 => {
                let r = self.r.pick(&[0, 1, 2]);
                self.put(&[0xb8 | r]);
                self.put(&v[..imm]);
            }
            11 | 12 => {
                let op = 0x88 | self.r.below(4) as u8;
                self.put(&[op]);
                self.modrm(reg, false);
            }
            13 => {
                let op = 0x84 | self.r.below(4) as u8;
                self.put(&[op]);
                self.modrm(reg, false);
            }
            14 => {
                let op = 2 + self.r.below(if self.r.0 & 7 == 0 { 6 } else { 4 }) as u8;
                self.put(&[0xf6 | byte]);
                self.modrm(op, false);
            }
            15 | 16 => {
                let op = self.r.below(8) as u8;
                match self.r.below(3) {
                    0 => {
                        self.put(&[0xc0 | byte]);
                        self.modrm(op, false);
                        self.put(&[self.r.0 as u8 & 0x3f]);
                    }
                    n => {
                        self.put(&[0xce | (n as u8) << 1 | byte]);
                        self.modrm(op, false);
                    }
                }
            }
            17 => {
                let op = self.r.pick(&[0xa4, 0xac]);
                self.put(&[0x0f, op]);
                self.modrm(reg, false);
                self.put(&[v[0]]);
            }
            18 => {
                let op = self.r.pick(&[0xa3, 0xab, 0xb3, 0xbb, 0xbc, 0xbd, 0xaf, 0xa5, 0xad]);
                self.put(&[0x0f, op]);
                self.modrm(reg, self.r.0 & 0x300 == 0);
            }
            19 => {
                let op = self.r.pick(&[0xb6, 0xb7, 0xbe, 0xbf]);
                self.put(&[0x0f, op]);
                self.modrm(reg, false);
            }
            20 => {
                let op = self.r.pick(&[0x90, 0x40]) | self.r.below(16) as u8;
                self.put(&[0x0f, op]);
                self.modrm(reg, false);
            }
            21 => {
                let op = self.r.pick(&[0xc0, 0xc1, 0xb0, 0xb1]);
                self.put(&[0x0f, op]);
                self.modrm(reg, false);
            }
            22 => {
                let op = self.r.below(2) as u8;
                self.put(&[0x8d - op]);
                self.modrm(reg, op == 0);
            }
            23 => {
                let op = self.r.pick(&[0x98, 0x99, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9, 0x27, 0x2f, 0x37, 0x3f, 0xd6, 0x60]);
                self.put(&[op]);
            }
            24 => {
                let op = self.r.pick(&[0xd4, 0xd5]);
                self.put(&[op, self.r.0 as u8]);
            }
            25 => {
                self.put(&[0x0f, 0xc8 | reg]);
            }
            _ => {
                let op = self.r.pick(&[0xd7, 0xc7, 0x9c, 0x61, 0xc8, 0xc9]);
                match op {
                    0xc7 => {
                        self.put(&[0x0f, 0xc7]);
                        self.modrm(1, true);
                    }
                    0xc8 => {
                        let depth = self.r.below(5) as u8;
                        self.put(&[0xc8, self.r.0 as u8 & 0x1f, 0, depth]);
                    }
                    _ => self.put(&[op]),
                }
            }
        }
    }

    fn control(&mut self) {
        let to = self.somewhere();
        let n = self.word();
        match self.r.below(16) {
            0..=6 => {
                let cc = self.r.below(16) as u8;
                self.put(&[0x0f, 0x80 | cc]);
                self.refer(to, 0, Kind::Near(n));
            }
            7 | 8 => {
                // A loop that ends.
                let back = self.index.saturating_sub(1 + self.r.below(5) as usize);
                self.put(&[0x49, 0x0f, 0x85]);
                self.refer(back, 0, Kind::Near(n));
            }
            9 => {
                self.put(&[0xe9]);
                self.refer(to, 0, Kind::Near(n));
            }
            10 | 11 => {
                self.put(&[0xe8]);
                self.refer(to, 0, Kind::Near(n));
            }
            12 => {
                let op = if self.r.chance(4) { &[0xc2, 4, 0][..] } else { &[0xc3] };
                self.put(op);
            }
            13 => {
                // mov eax, target; jmp or call eax
                self.put(&[0xb8]);
                self.refer(to, 0, Kind::Offset(n));
                let op = self.r.pick(&[0xe0, 0xd0]);
                self.put(&[0xff, op]);
            }
            14 => {
                // mov [data], target; jmp or call [data]
                let a = 0x2_0010u32;
                self.put(if self.wide { &[0xc7, 0x05] } else { &[0xc7, 0x06] });
                self.imm(a);
                self.refer(to, 0, Kind::Offset(n));
                let op = self.r.pick(&[4, 2]) << 3;
                self.put(&[0xff, op | if self.wide { 5 } else { 6 }]);
                self.imm(a);
            }
            _ => {
                let op = self.r.pick(&[0xe0, 0xe1, 0xe2, 0xe3]);
                self.put(&[op]);
                self.refer(to, 0, Kind::Near(1));
            }
        }
    }

    fn float(&mut self) {
        self.segment();
        let r = self.r.below(8) as u8;
        match self.r.below(6) {
            0 => {
                let op = self.r.pick(&[0xe8, 0xeb, 0xee, 0xf7, 0xf6, 0xfa, 0xfc, 0xe1, 0xe0]);
                self.put(&[0xd9, op]);
            }
            1 => {
                let op = self.r.pick(&[0xd8, 0xdc, 0xde]);
                self.put(&[op, 0xc0 | r << 3 | self.r.0 as u8 & 3]);
            }
            2 => {
                let op = self.r.pick(&[0xd9, 0xdb, 0xdd, 0xdf]);
                let reg = self.r.pick(&[0, 2, 3]);
                self.put(&[op]);
                self.modrm(reg, true);
            }
            3 => {
                let op = self.r.pick(&[0xd8, 0xda, 0xdc, 0xde]);
                self.put(&[op]);
                self.modrm(r, true);
            }
            4 => {
                let op =
                    self.r.pick(&[[0xdb, 0xf1], [0xdf, 0xf1], [0xdb, 0xe9], [0xdf, 0xe0], [0xdb, 0xe3], [0xda, 0xc1]]);
                self.put(&op);
            }
            _ => {
                let (op, reg) =
                    self.r.pick(&[(0xdb, 5), (0xdb, 7), (0xdf, 5), (0xdf, 7), (0xd9, 7), (0xdd, 7), (0xd9, 5)]);
                self.put(&[op]);
                self.modrm(reg, true);
            }
        }
    }

    fn vector(&mut self) {
        self.segment();
        let p: &[u8] = self.r.pick(&[&[][..], &[0x66], &[0xf3], &[0xf2]]);
        self.put(p);
        let op = self.r.pick(&[
            0x10, 0x11, 0x28, 0x29, 0x58, 0x59, 0x5c, 0x5e, 0x51, 0x54, 0x57, 0xef, 0xfe, 0x6f, 0x7f, 0x2e, 0x2f, 0x2a,
            0x2d, 0x5a, 0x6e, 0x7e, 0xd6, 0x70, 0x60, 0xd7, 0x50,
        ]);
        self.put(&[0x0f, op]);
        let reg = self.r.below(8) as u8;
        self.modrm(reg, false);
        if op == 0x70 {
            self.put(&[self.r.0 as u8]);
        }
    }

    fn string(&mut self) {
        let n = self.r.below(if self.r.0 & 31 == 0 { 600 } else { 24 }) as u32;
        self.put(&[0xb9]);
        self.imm(n);
        if self.r.chance(2) {
            let a = self.area();
            self.put(&[0xbf]);
            self.imm(a);
        }
        if self.r.chance(8) {
            let op = self.r.pick(&[0xfc, 0xfd]);
            self.put(&[op]);
        }
        if !self.r.chance(4) {
            let p = self.r.pick(&[0xf3, 0xf3, 0xf2]);
            self.put(&[p]);
        }
        self.prefixes();
        let op = self.r.pick(&[0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xac, 0xad, 0xae, 0xaf, 0x6d, 0x6e]);
        self.put(&[op]);
    }

    fn system(&mut self) {
        match self.r.below(14) {
            0 => self.put(&[0xfa]),
            1 => self.put(&[0xfb]),
            2 => self.put(&[0x0f, 0xa2]),
            3 => self.put(&[0x0f, 0x31]),
            4 => {
                let p = self.port();
                let op = self.r.pick(&[0xe4, 0xe5, 0xe6, 0xe7]);
                self.put(&[op, p]);
            }
            5 => self.put(&[0xcd, 0x80]),
            6 => self.put(&[0xcc]),
            7 => self.put(&[0x0f, 0x0b]),
            8 => self.put(&[0xce]),
            9 => self.put(&[0xfc]),
            10 => {
                // push flags image; popf: TF rarely
                let f = self.r.next() as u32 & if self.r.chance(4) { 0xfd5 } else { 0xcd5 };
                self.put(&[0x68]);
                self.imm(f | 0x200);
                self.put(&[0x9d]);
            }
            11 => {
                let (a, b) = self.r.pick(&[(0x8c, 0xd8), (0x8c, 0xc0), (0x8c, 0xe8)]);
                self.put(&[a, b]);
            }
            12 => {
                // push ds; pop es, fs, gs
                let op: &[u8] = self.r.pick(&[&[0x1e, 0x07][..], &[0x1e, 0x0f, 0xa1], &[0x06, 0x0f, 0xa9]]);
                self.put(op);
            }
            _ => {
                // lock add [data], eax
                self.put(&[0xf0, 0x01]);
                self.modrm(0, true);
            }
        }
    }

    fn port(&mut self) -> u8 {
        // 80h: DMA over code. 90h: raises INTR.
        self.r.pick(&[0x80, 0x80, 0x90, 0x60])
    }

    /// Stores over code.
    fn rewrite(&mut self) {
        let (to, add) = self.victim();
        let n = self.word();
        let v: Vec<u8> = (0..16).map(|_| self.r.pick(&HARMLESS)).collect();
        let direct = if self.wide { 5 } else { 6 };
        let es: &[u8] = if self.wide { &[] } else { &[0x26] };
        match self.r.below(14) {
            0 | 1 => {
                self.put(es);
                self.put(&[0xc6, direct]);
                self.refer(to, add, Kind::Offset(n));
                self.put(&v[..1]);
            }
            2 => {
                self.put(es);
                self.put(&[0xc7, direct]);
                self.refer(to, add, Kind::Offset(n));
                self.put(&v[..n]);
            }
            3 => {
                // Immediates and opcodes that change by one.
                let op = self.r.below(2) as u8;
                self.put(es);
                self.put(&[0xfe, op << 3 | direct]);
                self.refer(to, add, Kind::Offset(n));
            }
            4 => {
                self.put(&[0xbf]);
                self.refer(to, add, Kind::Offset(n));
                self.put(&[0xb9]);
                let count = self.r.below(12) as u32;
                self.imm(count);
                self.put(&[0xb8]);
                self.put(&v[..n]);
                let op = self.r.pick(&[0xaa, 0xab]);
                self.put(&[0xf3, op]);
            }
            5 => {
                // REP MOVS: code over code.
                let (from, _) = self.victim();
                self.put(&[0xbe]);
                self.refer(from, 0, Kind::Offset(n));
                self.put(&[0xbf]);
                self.refer(to, add, Kind::Offset(n));
                self.put(&[0xb9]);
                let count = self.r.below(24) as u32;
                self.imm(count);
                let op = self.r.pick(&[0xa4, 0xa5]);
                let seg: &[u8] = if self.wide { &[] } else { &[0x26] };
                self.put(seg);
                self.put(&[0xf3, op]);
            }
            6 => {
                // fild [code]; fstp [code]
                self.put(es);
                self.put(&[0xdf, 5 << 3 | direct]);
                let (from, _) = self.victim();
                self.refer(from, 0, Kind::Offset(n));
                self.put(es);
                let (op, reg) = self.r.pick(&[(0xdf, 7), (0xdd, 3), (0xd9, 3), (0xdb, 7), (0xdb, 3)]);
                self.put(&[op, reg << 3 | direct]);
                self.refer(to, add, Kind::Offset(n));
            }
            7 => {
                self.put(es);
                self.put(&[0x0f, 0x10, direct]);
                let (from, _) = self.victim();
                self.refer(from, 0, Kind::Offset(n));
                self.put(es);
                let op: &[u8] = self.r.pick(&[&[0x0f, 0x11][..], &[0x66, 0x0f, 0xd6], &[0xf3, 0x0f, 0x11]]);
                self.put(op);
                self.put(&[direct]);
                self.refer(to, add, Kind::Offset(n));
            }
            8 if self.wide => {
                self.put(&[0xbc]);
                self.refer(to, add + 4, Kind::Offset(n));
                self.put(&[0x68]);
                self.put(&v[..4]);
                if self.r.chance(4) {
                    self.put(&[0x60]);
                }
                self.stack();
            }
            9 if self.wide => {
                self.put(&[0xbc]);
                self.refer(to, add + 4, Kind::Offset(n));
                self.put(&[0xe8, 0, 0, 0, 0]);
                self.stack();
            }
            10 | 11 => {
                // DMA in the middle: EAX says where and what.
                let at = self.r.below(0x300) as u32;
                self.put(&[0xb8]);
                self.imm(at << 8 | u32::from(v[0]));
                self.put(&[0xe7, 0x80]);
            }
            12 => {
                self.put(es);
                self.put(&[0x0f, 0xc7, 1 << 3 | direct]);
                self.refer(to, add, Kind::Offset(n));
            }
            _ => {
                self.put(es);
                let r = self.r.pick(&[0, 1, 2]);
                self.put(&[0x87, r << 3 | direct]);
                self.refer(to, add, Kind::Offset(n));
            }
        }
    }

    /// Changes page tables, and accesses that are interrupted by faults.
    fn tables(&mut self) {
        let page = match self.r.below(4) {
            0 => 0x10 + self.r.below(3) as u32,
            1 => 0x80 + self.r.below(3) as u32,
            _ => 0x20 + self.r.below(6) as u32,
        };
        let code = !(0x20..0x80).contains(&page);
        match self.r.below(8) {
            0..=2 => {
                let table = self.r.pick(&[0x3000, 0x3000, 0x5000]);
                let frame = match self.r.below(3) {
                    _ if code => 0x10 + (page & 3),
                    0 => 0x20 + self.r.below(6) as u32,
                    _ => page,
                };
                let rights = match self.r.below(8) {
                    0 | 1 if page != 0x10 => 6,
                    2 | 3 => 5,
                    4 if self.user => 3,
                    _ => 7,
                };
                self.put(&[0xc7, 0x05]);
                self.put(&(table + page * 4).to_le_bytes());
                self.put(&(frame << 12 | rights).to_le_bytes());
                self.invalidate(page);
            }
            3 => {
                let dir = self.r.pick(&[0x2000u32, 0x4000]);
                self.put(&[0xb8]);
                self.put(&dir.to_le_bytes());
                self.put(&[0x0f, 0x22, 0xd8]);
            }
            4 => {
                // Code pages swapped: the instructions behind come from another frame.
                let a = 0x11 + self.r.below(2) as u32;
                self.put(&[0xc7, 0x05]);
                self.put(&(0x3000 + a * 4).to_le_bytes());
                let frame = 0x11 + self.r.below(2) as u32;
                self.put(&(frame << 12 | 7).to_le_bytes());
                self.invalidate(a);
            }
            5 => {
                // PUSHA, ENTER and calls across a page's edge.
                let at = (0x20 + self.r.below(5) as u32) << 12 | self.r.below(40) as u32;
                self.put(&[0xbc]);
                self.put(&at.to_le_bytes());
                let op: &[u8] = self.r.pick(&[&[0x60][..], &[0x61], &[0xc8, 16, 0, 3], &[0x9c], &[0x68, 1, 2, 3, 4]]);
                self.put(op);
                self.stack();
            }
            6 => {
                // A string operation over several pages.
                let from = ((0x20 + self.r.below(5) as u32) << 12) | (0xfc0 + self.r.below(64) as u32);
                let to = ((0x20 + self.r.below(5) as u32) << 12) | (0xfc0 + self.r.below(64) as u32);
                self.put(&[0xbe]);
                self.put(&from.to_le_bytes());
                self.put(&[0xbf]);
                self.put(&to.to_le_bytes());
                self.put(&[0xb9]);
                let n = self.r.below(80) as u32;
                self.put(&n.to_le_bytes());
                let op = self.r.pick(&[0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xaf]);
                self.put(&[0xf3, op]);
            }
            _ => {
                // A read-modify-write at a page's edge.
                let at = ((0x20 + self.r.below(5) as u32) << 12) | (0xffc + self.r.below(6) as u32);
                let op = self.r.below(2);
                if op == 0 {
                    self.put(&[0x01, 0x05]);
                } else {
                    self.put(&[0x0f, 0xb1, 0x0d]);
                }
                self.put(&at.to_le_bytes());
            }
        }
    }

    /// Makes a changed entry known: what the TLB holds until then may be used or not (SDM vol. 3, 4.10.2.1), and tiers
    /// differ in that.
    fn invalidate(&mut self, page: u32) {
        if self.user {
            self.put(&[0xcd, 0x80]);
        } else {
            self.put(&[0x0f, 0x01, 0x3d]);
            self.put(&(page << 12).to_le_bytes());
        }
    }

    /// Interrupt flag and shadows; segments that are loaded again, with their descriptors as they were or not.
    fn shadows(&mut self) {
        match self.r.below(12) {
            0 | 1 => self.put(&[0xfb]),
            2 => self.put(&[0xfa]),
            3 => self.put(&[0x16, 0x17]),
            4 => self.put(&[0x8c, 0xd0, 0x8e, 0xd0]),
            5 => {
                let f = if self.r.chance(3) { 0 } else { 0x200 } | self.r.next() as u32 & 0xd5;
                self.put(&[0x68]);
                self.imm(f);
                self.put(&[0x9d]);
            }
            6 => {
                let p = self.port();
                self.put(&[0xe6, p]);
            }
            7 => self.put(&[0xfb, 0xf4]),
            8 | 9 => {
                // mov eax, selector; mov ds, es, fs or gs, ax; now and then twice
                let selector = self.r.pick(&[0x10, 0x10, 0x10, 0x23, 0x20, 8, 0x49, 0]);
                let seg = self.r.pick(&[0xd8, 0xc0, 0xe0, 0xe8]);
                self.put(&[0xb8]);
                self.imm(selector);
                self.put(&[0x8e, seg]);
                if self.r.chance(2) {
                    self.put(&[0x8e, seg]);
                }
            }
            10 => self.put(&[0x9c, 0x9d]),
            _ => {
                // Access rights of a descriptor.
                let selector = self.r.pick(&[0x10, 0x20, 0x48]);
                let rights = self.r.pick(&[0x93, 0x93, 0xf3, 0xf2, 0x91, 0x13, 0x9b]);
                if self.wide {
                    self.put(&[0xc6, 0x05]);
                    self.put(&(0x505u32 + selector).to_le_bytes());
                    self.put(&[rights]);
                }
            }
        }
    }
}

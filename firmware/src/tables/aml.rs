//! A few encoders for ACPI machine language (ACPI 1.0b, section 16).

/// A package length that counts itself and `body`.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut bytes = if body.len() + 1 < 0x40 {
        vec![(body.len() + 1) as u8]
    } else if body.len() + 2 < 0x1000 {
        let length = body.len() + 2;
        vec![0x40 | (length & 0xf) as u8, (length >> 4) as u8]
    } else {
        let length = body.len() + 3;
        vec![0x80 | (length & 0xf) as u8, (length >> 4) as u8, (length >> 12) as u8]
    };
    bytes.extend(body);
    bytes
}

fn opcode(opcode: &[u8], body: &[u8]) -> Vec<u8> {
    [opcode, body].concat()
}

/// An integer in its shortest encoding.
pub fn integer(value: u32) -> Vec<u8> {
    match value {
        0 | 1 => vec![value as u8],
        2..=0xff => vec![0x0a, value as u8],
        0x100..=0xffff => opcode(&[0x0b], &(value as u16).to_le_bytes()),
        _ => opcode(&[0x0c], &value.to_le_bytes()),
    }
}

/// `Name (name, value)`; the name is four characters, with `\` in front for the root.
pub fn name(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x08], name.as_bytes(), value].concat()
}

/// `Package () { ... }`.
pub fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    let body = [&[elements.len() as u8], elements.concat().as_slice()].concat();
    opcode(&[0x12], &with_length(&body))
}

/// `Buffer () { ... }`.
pub fn buffer(bytes: &[u8]) -> Vec<u8> {
    let body = [integer(bytes.len() as u32), bytes.to_vec()].concat();
    opcode(&[0x11], &with_length(&body))
}

/// `Device (name) { ... }`.
pub fn device(name: &str, body: &[Vec<u8>]) -> Vec<u8> {
    opcode(&[0x5b, 0x82], &with_length(&[name.as_bytes(), &body.concat()].concat()))
}

/// `Scope (path) { ... }`.
pub fn scope(path: &str, body: &[Vec<u8>]) -> Vec<u8> {
    opcode(&[0x10], &with_length(&[path.as_bytes(), &body.concat()].concat()))
}

/// `Method (name, arguments) { ... }`.
pub fn method(name: &str, arguments: u8, body: &[Vec<u8>]) -> Vec<u8> {
    opcode(&[0x14], &with_length(&[name.as_bytes(), &[arguments], body.concat().as_slice()].concat()))
}

/// `Store (Arg0, name)`.
pub fn store_argument(name: &str) -> Vec<u8> {
    [&[0x70, 0x68], name.as_bytes()].concat()
}

/// `If (name) { ... }`.
pub fn if_set(name: &str, body: &[Vec<u8>]) -> Vec<u8> {
    opcode(&[0xa0], &with_length(&[name.as_bytes(), body.concat().as_slice()].concat()))
}

/// `Return (name)`.
pub fn return_named(name: &str) -> Vec<u8> {
    [&[0xa4], name.as_bytes()].concat()
}

/// `Processor (name, id, 0, 0) {}`: one without a register block.
pub fn processor(name: &str, id: u8) -> Vec<u8> {
    opcode(&[0x5b, 0x83], &with_length(&[name.as_bytes(), &[id, 0, 0, 0, 0, 0]].concat()))
}

/// `EisaId ("PNP0A03")`: three compressed letters and four hexadecimal digits.
pub fn eisa_id(id: &str) -> Vec<u8> {
    let letters = id.bytes().take(3).fold(0u16, |all, letter| all << 5 | u16::from(letter - 0x40));
    let digits = u16::from_str_radix(&id[3..], 16).expect("four hexadecimal digits");
    let [a, b] = letters.to_be_bytes();
    let [c, d] = digits.to_be_bytes();
    vec![0x0c, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_follow_the_specification() {
        assert_eq!(eisa_id("PNP0A03"), [0x0c, 0x41, 0xd0, 0x0a, 0x03]);
        assert_eq!(name("\\_S5_", &package(&[integer(0), integer(5)])), b"\x08\\_S5_\x12\x05\x02\x00\x0a\x05");
        assert_eq!(integer(0x1_0000), [0x0c, 0, 0, 1, 0]);
        assert_eq!(method("\\_PIC", 1, &[store_argument("PICM")]), b"\x14\x0d\\_PIC\x01\x70\x68PICM");
        assert_eq!(if_set("PICM", &[return_named("PRTA")]), b"\xa0\x0aPICM\xa4PRTA");
        assert_eq!(buffer(&[7; 70])[..4], [0x11, 0x4a, 0x04, 0x0a]);
    }
}

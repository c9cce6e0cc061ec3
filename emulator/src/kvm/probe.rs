//! Whether KVM can truly run a PC's code here: inside some virtual machines it is there and answers, but interprets
//! everything that is not 64-bit code, one instruction at a time.

use super::vcpu::Bare;
use std::time::Instant;

/// A loop of 16-bit code: MOV CX, imm16; DEC CX; JNZ back; HLT.
const LOOP: [u8; 7] = [0xb9, 0, 0, 0x49, 0x75, 0xfd, 0xf4];
/// Turns of the loop, two instructions each.
const TURNS: u16 = 20_000;
/// Nanoseconds that an instruction of it may take on a processor.
const SLOW: f64 = 20.0;

/// Why guests cannot usefully run on KVM here, in one sentence.
pub fn trouble() -> Option<String> {
    match nanoseconds() {
        Ok(each) if each <= SLOW => None,
        Ok(each) => {
            let module = std::path::Path::new("/sys/module/kvm_pvm").exists();
            let why = if module { " (this host's KVM is kvm_pvm, which runs 64-bit code only)" } else { "" };
            Some(format!(
                "KVM interprets a PC's 16- and 32-bit code here, at {each:.0} ns for each instruction of a plain loop, so there \
                 is nothing to compare with{why}"
            ))
        }
        Err(sentence) => Some(sentence),
    }
}

/// What an instruction of a plain loop takes.
fn nanoseconds() -> Result<f64, String> {
    let mut code = LOOP;
    code[1..3].copy_from_slice(&TURNS.to_le_bytes());
    let mut bare = Bare::new(&code)?;
    let start = Instant::now();
    bare.run_to_halt()?;
    Ok(start.elapsed().as_nanos() as f64 / (2.0 * f64::from(TURNS)))
}

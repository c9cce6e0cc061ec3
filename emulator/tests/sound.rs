//! A boot floppy plays on each device; the WAV file holds the tones, at their pitch and for their time, the same from the
//! interpreter and from compiled code.

#[path = "support/folder.rs"]
mod folder;

use folder::{Ended, Folder, ring86};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const RATE: usize = 48_000;
/// Interrupts of the BIOS's timer in a second.
const TICKS: f64 = 18.2065;
/// Times a value of the sample buffer is played.
const HELD: usize = 100;

/// Where the boot sector lies, and in it the interrupt's handler and the table of what is written to the card.
const LOADED: u16 = 0x7c00;
const HANDLER: u16 = LOADED + 0x1a0;
const TABLE: u16 = LOADED + 0x1c0;

/// Counts interrupts in BP and acknowledges them.
fn handler() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    a.push(ax)?;
    a.push(dx)?;
    a.inc(bp)?;
    a.mov(dx, 0x22e)?;
    a.in_(al, dx)?;
    a.mov(al, 0x20)?;
    a.out(0x20, al)?;
    a.pop(dx)?;
    a.pop(ax)?;
    a.iret()?;
    a.assemble(HANDLER.into())
}

/// A boot sector that waits for a tick before and six after each tone:
/// the speaker at 1 kHz, four ticks; an FM voice at 440 Hz, four ticks; 1600 samples at 8 kHz through DMA channel 1 and
/// interrupt 5. It ends with the number of interrupts.
fn player() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let (mut wait, mut voice, mut tick, mut main) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.jmp(main)?;

    // Waits for CX ticks.
    a.set_label(&mut wait)?;
    a.mov(ax, word_ptr(0x46c))?;
    a.set_label(&mut tick)?;
    a.hlt()?;
    a.cmp(ax, word_ptr(0x46c))?;
    a.je(tick)?;
    a.loop_(wait)?;
    a.ret()?;

    a.set_label(&mut main)?;
    a.cli()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(ss, ax)?;
    a.mov(sp, 0x7000)?;
    a.mov(bp, ax)?;
    a.mov(word_ptr(0x0d * 4), HANDLER as i32)?;
    a.mov(word_ptr(0x0d * 4 + 2), 0)?;
    a.in_(al, 0x21)?;
    a.and(al, !0x20)?;
    a.out(0x21, al)?;
    a.sti()?;
    a.cld()?;

    // The speaker.
    let outb = |a: &mut CodeAssembler, port: u32, value: u32| {
        a.mov(al, value)?;
        a.out(port, al)
    };
    a.mov(cx, 2)?;
    a.call(wait)?;
    outb(&mut a, 0x43, 0xb6)?;
    outb(&mut a, 0x42, 1193 & 0xff)?;
    outb(&mut a, 0x42, 1193 >> 8)?;
    outb(&mut a, 0x61, 3)?;
    a.mov(cx, 4)?;
    a.call(wait)?;
    outb(&mut a, 0x61, 0)?;
    a.mov(cx, 6)?;
    a.call(wait)?;

    // The FM voice, then its release.
    a.mov(si, TABLE as i32)?;
    a.mov(dx, 0x388)?;
    a.set_label(&mut voice)?;
    a.lodsw()?;
    a.out(dx, al)?;
    a.inc(dx)?;
    a.mov(al, ah)?;
    a.out(dx, al)?;
    a.dec(dx)?;
    a.cmp(ah, 0x32)?;
    a.jne(voice)?;
    a.mov(cx, 4)?;
    a.call(wait)?;
    a.inc(dx)?;
    a.mov(al, 0x12)?;
    a.out(dx, al)?;
    a.mov(cx, 6)?;
    a.call(wait)?;

    // Samples at 20000h: sixteen values, each held; the last one is silence.
    let mut fill = a.create_label();
    a.mov(ax, 0x2000)?;
    a.mov(es, ax)?;
    a.xor(di, di)?;
    a.mov(al, 0x08)?;
    a.set_label(&mut fill)?;
    a.mov(cx, HELD as u32)?;
    a.rep().stosb()?;
    a.add(al, 0x10)?;
    a.cmp(al, 0xf8u32 as i32)?;
    a.jne(fill)?;
    a.mov(al, 0x80)?;
    a.mov(cx, HELD as u32)?;
    a.rep().stosb()?;
    for (port, value) in
        [(0x0a, 5), (0x0c, 0), (0x0b, 0x49), (0x02, 0), (0x02, 0), (0x03, 0x3f), (0x03, 0x06), (0x83, 2), (0x0a, 1)]
    {
        outb(&mut a, port, value)?;
    }
    // The voice as loud as the samples are; then 8 kHz and 1600 samples.
    a.mov(si, TABLE as i32 + 24)?;
    let mut next = a.create_label();
    a.mov(cx, 9)?;
    a.mov(dh, 2)?;
    a.set_label(&mut next)?;
    a.lodsw()?;
    a.mov(dl, al)?;
    a.mov(al, ah)?;
    a.out(dx, al)?;
    a.loop_(next)?;
    a.mov(cx, 8)?;
    a.call(wait)?;
    a.mov(ax, bp)?;
    a.out(0xf4, al)?;

    let mut image = a.assemble(LOADED.into())?;
    assert!(image.len() <= usize::from(HANDLER - LOADED), "{} bytes are too many", image.len());
    image.resize((HANDLER - LOADED).into(), 0);
    image.extend(handler()?);
    image.resize((TABLE - LOADED).into(), 0);
    image.extend(
        [
            [0x20, 0x21],
            [0x40, 0x3f],
            [0x60, 0xf0],
            [0x80, 0x0f],
            [0x23, 0x21],
            [0x43, 0x00],
            [0x63, 0xf0],
            [0x83, 0x0f],
            [0xc0, 0x00],
            [0xbd, 0x00],
            [0xa0, 0x44],
            [0xb0, 0x32],
        ]
        .concat(),
    );
    image.extend(
        [
            [0x24, 0x32],
            [0x25, 0xf8],
            [0x24, 0x33],
            [0x25, 0xf8],
            [0x2c, 0x40],
            [0x2c, 131],
            [0x2c, 0x14],
            [0x2c, 0x3f],
            [0x2c, 0x06],
        ]
        .concat(),
    );
    assert!(image.len() <= 510, "{} bytes do not fit a boot sector", image.len());
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(1440 << 10, 0);
    Ok(image)
}

/// The samples of a WAV file, left and right.
fn samples(wav: &[u8]) -> Vec<[i16; 2]> {
    assert_eq!((&wav[..4], &wav[8..16], &wav[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    assert_eq!(u32::from_le_bytes([wav[40], wav[41], wav[42], wav[43]]) as usize, wav.len() - 44);
    wav[44..].chunks_exact(4).map(|b| [i16::from_le_bytes([b[0], b[1]]), i16::from_le_bytes([b[2], b[3]])]).collect()
}

/// The stretches of sound: what is not followed by a tenth of a second of silence.
fn stretches(samples: &[[i16; 2]]) -> Vec<&[[i16; 2]]> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (i, _) in samples.iter().enumerate().filter(|(_, s)| s[0].unsigned_abs() > 64) {
        match found.last_mut() {
            Some((_, end)) if i - *end < RATE / 10 => *end = i,
            _ => found.push((i, i)),
        }
    }
    found.into_iter().map(|(from, to)| &samples[from..=to]).collect()
}

/// Frequency by rising crossings of the mean.
fn frequency(samples: &[[i16; 2]]) -> f64 {
    let mean = samples.iter().map(|s| i64::from(s[0])).sum::<i64>() / samples.len() as i64;
    let above = |i: usize| i64::from(samples[i][0]) > mean;
    let rises: Vec<usize> = (1..samples.len()).filter(|&i| above(i) && !above(i - 1)).collect();
    let (first, last) = (rises.first().expect("a tone"), rises.last().expect("a tone"));
    (rises.len() - 1) as f64 * RATE as f64 / (last - first) as f64
}

/// Runs a floppy that ends by the debug-exit port, on the virtual clock.
fn play(folder: &Folder, more: &[&str]) -> Ended {
    let machine = ["run", "--clock", "virtual", "--serial", "none", "--net", "none"];
    ring86(&folder.0, &[&machine[..], &["--debug-exit", "0xf4", "--max-time", "20"], more].concat())
}

#[test]
fn each_device_is_heard() {
    let folder = Folder::new("sound");
    let floppy = folder.file("player.img", player().expect("the code is right"));
    let run = |engine: &str, file: &str| {
        let ended = play(&folder, &["--engine", engine, "--sound", &format!("wav:{file}"), &floppy]);
        assert_eq!(ended.code, Some(3), "one interrupt at the end of the block; {}", ended.err);
        folder.read(file)
    };
    let wav = run("interpreter", "a.wav");
    let samples = samples(&wav);
    let heard = stretches(&samples);
    let lengths: Vec<usize> = heard.iter().map(|s| s.len()).collect();
    assert_eq!(heard.len(), 3, "{lengths:?}");
    assert!(samples.iter().all(|s| s[0] == s[1]));

    let four_ticks = (4.0 / TICKS * RATE as f64) as usize;
    for (stretch, tone) in heard.iter().zip([1_193_182.0 / 1193.0, 440.05]) {
        assert!(stretch.len().abs_diff(four_ticks) < RATE / 200, "{lengths:?}");
        let found = frequency(stretch);
        assert!((found / tone - 1.0).abs() < 0.002, "{found} Hz, not {tone}");
    }
    let loudest = |stretch: &[[i16; 2]]| stretch.iter().map(|s| s[0]).max();
    assert!(loudest(heard[0]).is_some_and(|l| (8_100..10_000).contains(&l)), "{:?}", loudest(heard[0]));
    assert!(loudest(heard[1]).is_some_and(|l| (1_500..1_700).contains(&l)), "{:?}", loudest(heard[1]));

    // In the middle of each held value, the file has that very value. A sample of 8 kHz is six of the file's.
    let played = heard[2];
    assert!(played.len().abs_diff(15 * HELD * 6) < 60, "{lengths:?}");
    for i in 0..15 {
        let middle = played[(i * HELD + HELD / 2) * 6][0];
        assert_eq!(i32::from(middle), (0x08 + 0x10 * i as i32 - 0x80) * 256, "value {i}");
    }

    assert!(run("translator", "b.wav") == wav, "compiled code plays something else");
}

#[test]
fn nothing_is_played_into_nowhere() {
    let folder = Folder::new("sound-none");
    let floppy = folder.file("player.img", player().expect("the code is right"));
    let ended = play(&folder, &[&floppy]);
    assert_eq!(ended.code, Some(3), "the chips are there without --sound: {}", ended.err);
    let ended = ring86(&folder.0, &["run", "--sound", "wav:no/such/folder.wav", &floppy]);
    assert_eq!(ended.code, Some(120));
    assert!(ended.err.contains("cannot create 'no/such/folder.wav'"), "{}", ended.err);
}

#[test]
fn the_bios_prints() -> Result<(), IcedError> {
    let mut a = CodeAssembler::new(16)?;
    for c in b"Hi\n" {
        a.mov(ax, u32::from(*c))?;
        a.xor(dx, dx)?;
        a.int(0x17)?;
    }
    a.mov(al, ah)?;
    a.out(0xf4, al)?;
    let mut image = a.assemble(LOADED.into())?;
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(1440 << 10, 0);
    let folder = Folder::new("parallel");
    let floppy = folder.file("print.img", image);
    let ended = play(&folder, &["--parallel", "file:paper", &floppy]);
    // Int 17h's status: not busy, selected, no time-out. (Acknowledge and error are shown inverted.)
    assert_eq!(ended.code.map(|code| (code >> 1) & 0x51), Some(0x10), "{}", ended.err);
    assert_eq!(folder.read("paper"), b"Hi\n");
    Ok(())
}

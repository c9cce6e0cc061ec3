//! The window against simple models: permissions, mappings, faults, and page tables that change.

use super::*;
use crate::mmu::shadow::{G, GUEST_W, IO, R, Shadow, W};
use std::collections::HashMap;

const FRAMES: u64 = 64;

fn ram() -> Ram {
    let ram = Ram::new(FRAMES as usize * PAGE).unwrap();
    for f in 0..FRAMES {
        for at in [0, 8, 4088] {
            ram.write(f as usize * PAGE + at, f << 16 | at as u64);
        }
    }
    ram
}

fn shadow(ram: &Ram) -> Shadow {
    let mut s = Shadow::default();
    assert!(s.enable_window(ram));
    s
}

fn read(s: &Shadow, view: usize, lin: u64) -> u64 {
    assert!(s.window_perm(view, lin) & READ != 0 && lin & 0xfff <= 4088);
    // SAFETY: the permission byte says that the page is mapped readable, which is what these tests are about.
    unsafe { s.base_ptr(view).add(lin as usize).cast::<u64>().read_unaligned() }
}

fn write(s: &Shadow, view: usize, lin: u64, v: u64) {
    assert!(s.window_perm(view, lin) & WRITE != 0 && lin & 0xfff <= 4088);
    // SAFETY: the permission byte says that the page is mapped writable, which is what these tests are about.
    unsafe { s.base_ptr(view).add(lin as usize).cast::<u64>().write_unaligned(v) }
}

fn miss(s: &mut Shadow, view: usize, lin: u64, write: bool) -> bool {
    (0..MAP_AFTER).fold(false, |_, _| s.window_miss(view, lin, 1, write))
}

const RW: u64 = R | W | GUEST_W;

#[test]
fn a_page_is_mapped_once_it_was_missed_often_and_its_byte_comes_back_with_the_entry() {
    let ram = ram();
    let mut s = shadow(&ram);
    s.fill(0, 0xc000_5000, 7 << 12 | RW);
    for _ in 1..MAP_AFTER {
        assert!(!s.window_miss(0, 0xc000_5004, 4, true));
        assert_eq!(s.window_perm(0, 0xc000_5000), 0);
    }
    assert!(s.window_miss(0, 0xc000_5004, 4, true));
    assert_eq!(s.window_perm(0, 0xc000_5000), READ | WRITE);
    assert_eq!(read(&s, 0, 0xc000_5008), 7 << 16 | 8);
    write(&s, 0, 0xc000_5ff0, 0x1234);
    assert_eq!(ram.read::<u64>(0x7ff0), 0x1234);
    s.flush(false);
    assert_eq!(s.window_perm(0, 0xc000_5000), 0);
    s.fill(0, 0xc000_5000, 7 << 12 | R);
    assert_eq!(s.window_perm(0, 0xc000_5000), READ);
    let stats = s.window_stats().unwrap();
    assert_eq!((stats.maps, stats.fills, stats.byte_fills, stats.drops), (1, 2, 1, 1));
    // Another frame at the same address does not show the old one.
    s.fill(0, 0xc000_5000, 9 << 12 | R);
    assert_eq!(s.window_perm(0, 0xc000_5000), 0);
    assert!(miss(&mut s, 0, 0xc000_5000, false));
    assert_eq!(read(&s, 0, 0xc000_5008), 9 << 16 | 8);
}

#[test]
fn pairs_follow_both_pages_and_end_at_4_gib() {
    let ram = ram();
    let mut s = shadow(&ram);
    let last = 0xffff_f000;
    s.fill(0, last, 3 << 12 | RW);
    s.fill(0, last - 0x1000, 5 << 12 | RW);
    s.fill(0, 0, 4 << 12 | RW);
    assert!(miss(&mut s, 0, last, true) && miss(&mut s, 0, 0, true));
    assert_eq!(s.window_perm(0, last), READ | WRITE);
    assert!(miss(&mut s, 0, last - 0x1000, true));
    let all = READ | WRITE | READ2 | WRITE2;
    assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [all, READ | WRITE]);
    s.protect(3 << 12);
    assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [READ | WRITE | READ2, READ]);
    s.flush_page(last);
    assert_eq!([s.window_perm(0, last - 0x1000), s.window_perm(0, last)], [READ | WRITE, 0]);
    assert!(!s.window_miss(0, 0xffff_fffe, 4, false));
}

#[test]
fn devices_and_frames_beyond_ram_are_never_served() {
    let ram = ram();
    let mut s = shadow(&ram);
    s.fill(0, 0x1000, 3 << 12 | RW | IO);
    s.fill(0, 0x2000, FRAMES << 12 | RW);
    s.fill(0, 0x3000, 0xf_ffff_f000 | RW);
    for lin in [0x1000, 0x2000, 0x3000, 0x4000] {
        assert!(!miss(&mut s, 0, lin, false) && !miss(&mut s, 0, lin, false));
        assert_eq!(s.window_perm(0, lin), 0);
    }
}

#[test]
fn a_kernel_gets_a_block_with_one_call_and_a_user_what_is_known() {
    let ram = ram();
    let mut s = shadow(&ram);
    for view in 0..2 {
        for page in 3..6u64 {
            s.fill(view, page << 12, (page + 8) << 12 | R);
        }
        assert!(miss(&mut s, view, 0x4000, false));
        assert_eq!([3, 4, 5].map(|p| s.window_perm(view, p << 12) & READ), [READ; 3]);
    }
    let before = s.window_stats().unwrap();
    assert_eq!((before.maps, before.mapped_pages), (2, (FRAMES - 8) + 3));
    s.fill(0, 0x7000, 15 << 12 | R);
    s.fill(1, 0x7000, 15 << 12 | R);
    assert_eq!((s.window_perm(0, 0x7000), s.window_perm(1, 0x7000)), (READ, 0));
    assert_eq!(read(&s, 0, 0x7000), 15 << 16);
}

#[test]
fn address_spaces_keep_what_they_map() {
    let ram = ram();
    let mut s = shadow(&ram);
    let mut bases = Vec::new();
    for round in 0..2 {
        for key in 0..USER_SLOTS as u64 {
            s.flush(true);
            s.activate(0x1000 * key);
            s.fill(1, 0x8_0000, key << 12 | RW);
            assert!(round == 0 || s.window_perm(1, 0x8_0000) == READ | WRITE);
            assert!(miss(&mut s, 1, 0x8_0000, true));
            assert_eq!(read(&s, 1, 0x8_0000), key << 16);
            bases.push(s.base_ptr(1) as usize);
        }
    }
    assert_eq!(bases[..USER_SLOTS], bases[USER_SLOTS..]);
    let stats = s.window_stats().unwrap();
    // The slot handed on is the one of the time without paging.
    assert_eq!((stats.maps, stats.evictions), (USER_SLOTS as u64, 1));
    // A global page of the user's view has its permission only where its frame is mapped.
    s.fill(1, 0x9_0000, 20 << 12 | R | G);
    assert!(miss(&mut s, 1, 0x9_0000, false));
    s.flush(true);
    assert_eq!(s.window_perm(1, 0x9_0000), READ);
    s.activate(0);
    assert_eq!(s.window_perm(1, 0x9_0000), 0);
    s.activate(0x1000 * (USER_SLOTS as u64 - 1));
    assert_eq!(s.window_perm(1, 0x9_0000), READ);
    s.activate(1);
    assert_eq!(s.window_stats().unwrap().evictions, 2);
}

/// A small generator of its own: the test is the same on every run.
struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// Pages of the model test: a few clusters, both ends of the address space among them.
fn some_page(r: &mut Random) -> u64 {
    let at = [0, 0x3f, 0x8_0000, 0xc_0000, 0xf_fff0][r.below(5) as usize];
    at + r.below(16)
}

fn model_test(seed: u64, user_slots: usize, max_pieces: usize) -> WindowStats {
    let ram = ram();
    let mut s = Shadow::default();
    s.set_window(Windows::with_limits(&ram, user_slots, max_pieces).unwrap());
    let mut r = Random(seed);
    let mut model: [HashMap<u64, u64>; 2] = Default::default();
    for step in 0..30_000 {
        match r.below(100) {
            0..40 => {
                let (view, page) = (r.below(2) as usize, some_page(&mut r));
                // Mostly as a kernel maps: linear, so that blocks join up.
                let frame = if r.below(3) == 0 { r.below(FRAMES) } else { page % FRAMES };
                let flags = [R, RW, RW, RW, R | GUEST_W, RW | IO][r.below(6) as usize];
                let e = frame << 12 | flags | if r.below(2) == 0 { G } else { 0 };
                s.fill(view, page << 12, e);
                model[view].insert(page, e);
            }
            40..90 => {
                let (view, page, write) = (r.below(2) as usize, some_page(&mut r), r.below(2) == 0);
                let size = 1 << r.below(4);
                for _ in 0..1 + r.below(2 * u64::from(MAP_AFTER)) {
                    s.window_miss(view, page << 12 | r.below(4096), size, write);
                }
            }
            90..93 => {
                let keep = r.below(3) != 0;
                s.flush(keep);
                model.iter_mut().for_each(|m| m.retain(|_, e| keep && *e & G != 0));
                s.activate(r.below(6) << 12);
            }
            93..97 => {
                let page = some_page(&mut r);
                s.flush_page(page << 12);
                model.iter_mut().for_each(|m| m.retain(|p, _| *p != page));
            }
            _ => {
                let frame = r.below(FRAMES);
                s.protect(frame << 12);
                let of_frame = |e: &&mut u64| **e >> 12 == frame && **e & IO == 0;
                model.iter_mut().flat_map(|m| m.values_mut()).filter(of_frame).for_each(|e| *e &= !W);
            }
        }
        check(&s, &model, step);
    }
    s.window_stats().unwrap()
}

/// The permission bytes of a page as compiled code finds them.
fn granules(s: &Shadow, view: usize, page: u64) -> Vec<u8> {
    let first = s.base_ptr(view).wrapping_sub(PERM_BELOW).wrapping_add(page as usize * 8);
    // SAFETY: below the window lie the view's permissions, eight bytes for each of its pages.
    (0..8).map(|g| unsafe { first.add(g).read() }).collect()
}

/// Every permission against the model, and the bytes behind it.
fn check(s: &Shadow, model: &[HashMap<u64, u64>; 2], step: u64) {
    let clusters = [0u64, 0x3f, 0x8_0000, 0xc_0000, 0xf_fff0];
    for (view, m) in model.iter().enumerate() {
        let bits = |page: u64| if page > 0xf_ffff { 0 } else { s.window_perm(view, page << 12) };
        for page in clusters.iter().flat_map(|at| at.saturating_sub(1)..(at + 17).min(0x10_0000)) {
            let have = bits(page);
            let e = m.get(&page).copied().unwrap_or(0);
            assert_eq!(s.get(view, page << 12), e, "step {step}");
            let allowed = match e & (R | IO) {
                R => READ | if e & W != 0 { WRITE } else { 0 },
                _ => 0,
            };
            assert_eq!(have & (READ | WRITE) & !allowed, 0, "step {step}: page {page:05x} of view {view}");
            assert!(have & READ == 0 || have & (READ | WRITE) == allowed, "step {step}: a lost permission");
            assert_eq!(have >> 2, have & bits(page + 1) & 3, "step {step}: the pair of page {page:05x}");
            let own = have & (READ | WRITE);
            let seven = [own | own << 2; 7];
            assert_eq!(granules(s, view, page), [&seven[..], &[have]].concat(), "step {step}: page {page:05x}");
            if have & READ != 0 {
                for at in [0, 8, 4088] {
                    assert_eq!(read(s, view, page << 12 | at), (e >> 12) << 16 | at, "step {step}: page {page:05x}");
                }
            }
        }
    }
}

#[test]
fn the_window_agrees_with_a_simple_model() {
    let plenty = model_test(0x1234_5678_9abc_def1, 3, 10_000);
    assert!(plenty.maps > 100 && plenty.byte_fills > 1000 && plenty.evictions > 100, "{plenty:?}");
    assert_eq!(plenty.resets, 0);
    // With hardly any mappings allowed slots are emptied all the time, current ones too.
    let scarce = model_test(0x0fed_cba9_8765_4321, 3, 24);
    assert!(scarce.resets > 100 && scarce.maps > 100, "{scarce:?}");
}
/// How many of the kernel's mappings of this process touch a slot's reservation.
fn kernel_pieces(slot: &Slot) -> usize {
    let (start, end) = (slot.space.at(0) as usize - GUARD, slot.space.at(PAGES) as usize + GUARD);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().filter_map(|l| l.split(' ').next()?.split_once('-'));
    let parse = |s| usize::from_str_radix(s, 16).unwrap();
    ranges.filter(|(a, b)| parse(a) < end && parse(b) > start).count()
}

#[test]
fn the_kernels_mappings_are_counted_right() {
    let ram = ram();
    let mut w = Windows::with_limits(&ram, 2, 10_000).unwrap();
    let mut table: Box<[u64; PAGES]> = vec![0; PAGES].try_into().unwrap();
    let mut r = Random(77);
    for step in 0..400 {
        let page = some_page(&mut r) as usize;
        let frame = if r.below(3) == 0 { r.below(FRAMES) } else { page as u64 % FRAMES };
        table[page] = frame << 12 | R;
        w.refresh(0, page, table[page]);
        for _ in 0..MAP_AFTER {
            w.fill(0, &table, page, false);
        }
        assert_eq!(w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0]), "step {step}");
    }
    assert!(w.slots[0][0].pieces > 20);
    assert!(w.slots[0][0].reset());
    assert_eq!(kernel_pieces(&w.slots[0][0]), 1);
}

#[test]
fn a_host_that_refuses_leaves_nothing_behind() {
    use std::os::fd::AsRawFd;
    let ram = ram();
    let mut w = Windows::with_limits(&ram, 2, 10_000).unwrap();
    let mut table: Box<[u64; PAGES]> = vec![0; PAGES].try_into().unwrap();
    let often =
        |w: &mut Windows, table: &[u64; PAGES], page| (0..MAP_AFTER).fold(false, |_, _| w.fill(0, table, page, false));
    for page in [5, 9] {
        table[page] = (page as u64 + 1) << 12 | R;
        assert!(often(&mut w, &table, page));
    }
    // Opened for reading only the file cannot be mapped for writing.
    let path = format!("/proc/self/fd/{}", w.file.as_raw_fd());
    let good = std::mem::replace(&mut w.file, File::open(path).unwrap());
    table[5] = 20 << 12 | R;
    w.refresh(0, 5, table[5]);
    assert!(!often(&mut w, &table, 5));
    assert_eq!([w.perm(0, 5), w.perm(0, 9)], [0, READ]);
    assert_eq!((w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0])), (3, 3));
    w.file = good;
    assert!(often(&mut w, &table, 5));
    assert_eq!(w.slots[0][0].pieces, kernel_pieces(&w.slots[0][0]));
}

#[test]
fn mappings_are_never_executable_and_guards_surround_them() {
    let ram = ram();
    let mut s = shadow(&ram);
    for page in [0, PAGES as u64 - 1] {
        s.fill(0, page << 12, RW);
        assert!(miss(&mut s, 0, page << 12, true));
    }
    let base = s.base_ptr(0) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rights = |at: usize| {
        let parse = |s| usize::from_str_radix(s, 16).unwrap();
        let mut lines = maps.lines().map(|l| (l.split_once('-').unwrap(), l));
        let line = lines.find(|((a, b), _)| parse(a) <= at && at < parse(b.split(' ').next().unwrap()));
        line.map(|(_, l)| l.split(' ').nth(1).unwrap().to_owned()).unwrap()
    };
    let end = base + (PAGES << 12);
    assert_eq!([rights(base), rights(end - 1)], ["rw-s", "rw-s"]);
    for guard in [base - GUARD, base - 1, base + PAGE, end, end + GUARD - 1] {
        assert_eq!(rights(guard), "---p");
    }
}

/// Runs one of these tests by itself, as its own process with `RING86_WINDOW_CHILD` set; how it ended and what it
/// said. `RING86_RUNNER` names what runs programs of this kind on a host of another one (`tools/cross`).
fn child(test: &str) -> (Option<i32>, String) {
    use std::os::unix::process::ExitStatusExt;
    let name = format!("mmu::window::tests::{test}");
    let this = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(std::env::var_os("RING86_RUNNER").unwrap_or(this.clone().into()));
    if std::env::var_os("RING86_RUNNER").is_some() {
        command.arg(this);
    }
    let out = command
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env("RING86_WINDOW_CHILD", "1")
        .output()
        .unwrap();
    (out.status.signal(), String::from_utf8_lossy(&out.stderr).into_owned())
}

fn is_child() -> bool {
    std::env::var_os("RING86_WINDOW_CHILD").is_some()
}

#[test]
fn a_fault_in_the_window_is_named_and_final() {
    if is_child() {
        let ram = ram();
        let mut s = shadow(&ram);
        s.fill(0, 0x1234_5000, 5 << 12 | RW);
        assert!(miss(&mut s, 0, 0x1234_5000, true));
        // SAFETY: the reservation is not readable behind the page: this process is meant to die here.
        unsafe { s.base_ptr(0).add(0x1234_6abc).read_volatile() };
        std::process::exit(0);
    }
    let (signal, text) = child("a_fault_in_the_window_is_named_and_final");
    assert_eq!(signal, Some(libc::SIGABRT), "{text}");
    assert!(text.contains("fault"), "{text}");
    assert!(text.contains("at linear 0000000012346abc, permission 00\n"), "{text}");
}

#[test]
fn other_faults_take_their_usual_way() {
    if is_child() {
        let ram = ram();
        let s = shadow(&ram);
        let outside = s.base_ptr(0).wrapping_sub(GUARD);
        drop(s);
        // SAFETY: no window is there any more, and nothing else yet: this process is meant to die here.
        unsafe { outside.read_volatile() };
        std::process::exit(0);
    }
    let (signal, text) = child("other_faults_take_their_usual_way");
    assert_eq!(signal, Some(libc::SIGSEGV), "{text}");
    assert!(!text.contains("window at linear"), "{text}");
}

mod with_cpu {
    use super::*;
    use crate::mmu::walk::pte;
    use crate::state::{Segment, attr, cr, mode};
    use crate::{Cpu, Exit, Memory, Model, NullBus, Pins};
    use std::sync::Arc;

    const DIRECTORIES: [u64; 3] = [0x1000, 0x2000, 0x3000];
    /// One table for addresses from 0 in each address space, and one that all have at C0000000h.
    const TABLES: [u64; 3] = [0x4000, 0x5000, 0x6000];
    const KERNEL: u64 = 0x7000;
    const FIRST: u64 = 16;
    const RAM: u64 = 96;
    const PAGES_USED: u64 = 12;

    fn cpu() -> Cpu {
        let pins = Arc::new(Pins::default());
        let mem = Arc::new(Memory::flat(RAM as usize * PAGE, pins.clone()).unwrap());
        let mut c = Cpu::new(Model::Max, mem, pins);
        let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
        c.state.segs = [Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 }; 6];
        c.state.segs[1] = Segment { base: 0, limit: u32::MAX, attr: data | attr::CODE, selector: 8 };
        let ram = c.mem.ram();
        for (d, t) in DIRECTORIES.iter().zip(TABLES) {
            ram.write(*d as usize, t as u32 | 7);
            ram.write(*d as usize + 0xc00, KERNEL as u32 | 3);
        }
        for f in FIRST..RAM {
            // NOP and UD2, so that every frame can be run.
            ram.write(f as usize * PAGE, f << 32 | 0x0b_0f90);
        }
        assert!(c.shadow.enable_window(c.mem.ram()));
        c.state.cr4 |= cr::PGE;
        c.state.cr0 |= cr::PE | cr::PG | cr::WP;
        c.state.cr3 = DIRECTORIES[0];
        c.state.update_mode();
        c.flush();
        c.intercept = true;
        c
    }

    /// Table entry of a linear page under the current CR3, with its address.
    fn entry(c: &Cpu, page: u64) -> (usize, u64) {
        let table =
            if page >= 0xc_0000 { KERNEL } else { TABLES[DIRECTORIES.iter().position(|d| *d == c.state.cr3).unwrap()] };
        let at = (table + (page & 0x3ff) * 4) as usize;
        (at, u64::from(c.mem.ram().read::<u32>(at)))
    }

    fn some(r: &mut Random) -> u64 {
        [0, 0xc_0000][r.below(2) as usize] + r.below(PAGES_USED)
    }

    /// Permissions against the page tables themselves, not the shadow.
    fn check(c: &Cpu, step: u64) -> u32 {
        let mut set = 0;
        for view in 0..2 {
            for page in (0..PAGES_USED).chain(0xc_0000..0xc_0000 + PAGES_USED) {
                let have = c.shadow.window_perm(view, page << 12);
                if have == 0 {
                    continue;
                }
                set += 1;
                let (_, e) = entry(c, page);
                let user = page < 0xc_0000 && e & pte::US != 0;
                assert!(e & pte::P != 0 && (view == 0 || user), "step {step}: page {page:05x} of view {view}");
                let frame = e & 0xffff_f000;
                let writable = e & pte::RW != 0 && e & pte::D != 0 && !c.mem.is_code(frame);
                assert!(
                    have & WRITE == 0 || writable,
                    "step {step}: page {page:05x} of view {view}: {e:x} {:x} {}",
                    c.shadow.get(view, page << 12),
                    c.mem.is_code(frame)
                );
                for at in [0, 2048] {
                    let there: u64 = c.mem.ram().read((frame + at) as usize);
                    assert_eq!(read(&c.shadow, view, page << 12 | at), there, "step {step}: page {page:05x}");
                }
            }
        }
        set
    }

    #[test]
    fn the_window_follows_page_tables_code_and_address_spaces() {
        let mut c = cpu();
        let mut r = Random(0x9e37_79b9_7f4a_7c15);
        let (mut seen, mut ran, mut stored) = (0, 0, 0);
        for step in 0..20_000u64 {
            let page = some(&mut r);
            match r.below(40) {
                0 => {
                    let (at, _) = entry(&c, page);
                    // Only what all address spaces have in common may be global.
                    let global = if page >= 0xc_0000 { 0x100 } else { 0 };
                    let rights = [7, 7, 7, 5, 3, 1, 0, 7 | global][r.below(8) as usize];
                    let frame = FIRST + r.below(RAM - FIRST);
                    c.mem.ram().write(at, (frame << 12 | rights) as u32);
                    c.state.cpl = 0;
                    c.invlpg(page << 12).unwrap();
                }
                1 => {
                    c.state.cpl = 0;
                    c.mov_to_cr(&mut NullBus, 3, DIRECTORIES[r.below(3) as usize]).unwrap();
                }
                2 => {
                    // Run a frame: it becomes code, or the fetch faults.
                    c.state.cpl = [0, 3][r.below(2) as usize];
                    c.state.update_mode();
                    assert_eq!(c.state.mode & mode::STEP, 0);
                    c.state.rip = page << 12;
                    assert!(matches!(c.run(&mut NullBus, 10), Exit::Exception(_)));
                    let (_, e) = entry(&c, page);
                    ran += u32::from(c.mem.is_code(e & 0xffff_f000) && e & pte::P != 0);
                }
                n => {
                    // What compiled code does: through the window, or else the interpreter's way and a miss.
                    let user = r.below(2) == 0;
                    let (view, at) = (usize::from(user), page << 12 | r.below(8) << 3);
                    let bit = if n % 2 == 0 { WRITE } else { READ };
                    let v = step << 32 | 0x0b_0f90;
                    if c.shadow.window_perm(view, at) & bit == 0 {
                        let done = if bit == WRITE {
                            c.write_lin::<u64>(&mut NullBus, at, user, v).is_ok()
                        } else {
                            c.read_lin::<u64>(&mut NullBus, at, user).is_ok()
                        };
                        if done {
                            c.shadow.window_miss(view, at, 8, bit == WRITE);
                        }
                    } else if bit == WRITE {
                        write(&c.shadow, view, at, v);
                        assert_eq!(c.read_lin::<u64>(&mut NullBus, at, user), Ok(v));
                        stored += 1;
                    }
                }
            }
            seen += check(&c, step);
        }
        let stats = c.shadow.window_stats().unwrap();
        assert!(seen > 10_000 && ran > 100 && stored > 500, "{seen} {ran} {stored} {stats:?}");
        assert!(stats.maps > 100 && stats.byte_fills > 1000, "{stats:?}");
    }
}

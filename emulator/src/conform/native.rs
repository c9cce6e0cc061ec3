//! The host CPU as judge: a forked child runs encoded instructions in 32-bit code and, through an LDT, in 16-bit
//! protected-mode code, on thousands of states a batch. Only on x86-64 Linux hosts; elsewhere
//! [`Oracle::new`] says that the judge is absent.

use std::sync::LazyLock;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use linux::Oracle;

/// Who made a processor: what the manual leaves undefined differs by make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Somebody else, of whom nothing is known: whatever is left out for one of the others is for them.
    Other,
}

impl Maker {
    /// Who made the host's processor.
    pub fn of_host() -> Maker {
        static HOST: LazyLock<Maker> = LazyLock::new(|| match host().split(' ').next() {
            Some("AuthenticAMD") => Maker::Amd,
            Some("GenuineIntel") => Maker::Intel,
            _ => Maker::Other,
        });
        *HOST
    }
}

/// Vendor, family, model and stepping of the host CPU: what undefined results depend on.
pub fn host() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        let vendor = __cpuid(0);
        let name: Vec<u8> = [vendor.ebx, vendor.edx, vendor.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
        let signature = __cpuid(1).eax;
        format!("{} {signature:08x}", String::from_utf8_lossy(&name))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        "not x86-64".to_string()
    }
}

/// Why a batch has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Index of the record that ran when the child was lost.
    pub index: usize,
    /// What is known.
    pub reason: String,
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent {
    use super::Lost;
    use crate::conform::layout::{Placement, Shape};

    /// The judge that this host does not have: there is never one.
    pub struct Oracle {
        never: std::convert::Infallible,
    }

    impl Oracle {
        /// Says that the judge is absent.
        pub fn new() -> Result<Oracle, String> {
            Err("the native judge is absent: it needs an x86-64 Linux host".to_string())
        }

        /// See the Linux version.
        pub fn set_patience(&mut self, _patience: std::time::Duration) {
            match self.never {}
        }

        /// See the Linux version.
        pub fn load(&mut self, _placement: Placement, _shape: Shape, _instruction: &[u8]) {
            match self.never {}
        }

        /// See the Linux version.
        pub fn load_bytes(&mut self, _placement: Placement, _shape: Shape) {
            match self.never {}
        }

        /// See the Linux version.
        pub fn input(&mut self) -> &mut [u8] {
            match self.never {}
        }

        /// See the Linux version.
        pub fn input_ref(&self, _range: std::ops::Range<usize>) -> &[u8] {
            match self.never {}
        }

        /// See the Linux version.
        pub fn output(&self) -> &[u8] {
            match self.never {}
        }

        /// See the Linux version.
        pub fn arena(&mut self) -> &mut [u8] {
            match self.never {}
        }

        /// See the Linux version.
        pub fn run(&mut self, _count: usize) -> Result<(), Lost> {
            match self.never {}
        }
    }
}
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::Oracle;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    #![expect(unsafe_code, reason = "shared memory, fork, signal handling and machine code are its whole purpose")]

    use super::Lost;
    use crate::conform::layout::{
        ABSENT_CODE, ABSENT_PAGE, ARENA, ARENA_LEN, CODE, CODE_ALIAS, CODE_LEN, CTRL, HARNESS_LEN, INPUT, LDT, LOW,
        OUTPUT, Placement, READ_ONLY_PAGE, RECORDS_LEN, STACK_TOP, Shape, TOTAL_LEN, field, put32,
    };
    use crate::conform::thunk::{self, ctrl};
    use std::io::Error;
    use std::time::Duration;

    const PAGE: usize = 4096;
    /// See [`Oracle::set_patience`].
    const PATIENCE: Duration = Duration::from_secs(180);
    /// Patience is as many looks at the child: a host that stood still, itself a guest perhaps, has spent but one of them.
    const SLICES: u32 = 20;
    const ALTERNATE_STACK: usize = 0x1_0000;

    /// A child process that runs batches, and the memory shared with it.
    pub struct Oracle {
        memory: *mut u8,
        memfd: i32,
        child: Option<Child>,
        loaded: Option<(Placement, Shape)>,
        shape: Shape,
        patience: Duration,
    }

    struct Child {
        pid: i32,
        /// One byte starts a batch.
        start: i32,
        /// One byte says that it ended.
        done: i32,
    }

    // SAFETY: the mapping belongs to this value alone; the child reads and writes it only inside `run`.
    unsafe impl Send for Oracle {}

    impl Oracle {
        /// Maps the shared memory and starts the first child.
        pub fn new() -> Result<Oracle, String> {
            let fail = |what: &str| format!("the native judge cannot start: {what}: {}", Error::last_os_error());
            // SAFETY: a plain system call with a constant name.
            let memfd = unsafe { libc::memfd_create(c"ring86-judge".as_ptr(), libc::MFD_CLOEXEC) };
            if memfd < 0 {
                return Err(fail("memfd_create"));
            }
            // SAFETY: memfd is ours; a shared mapping anywhere, checked below.
            let memory = unsafe {
                libc::ftruncate(memfd, i64::from(TOTAL_LEN));
                libc::mmap(
                    std::ptr::null_mut(),
                    TOTAL_LEN as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    memfd,
                    0,
                )
            };
            if memory == libc::MAP_FAILED {
                // SAFETY: memfd is ours and not used again.
                unsafe { libc::close(memfd) };
                return Err(fail("mmap"));
            }
            let (loaded, shape) = (None, Shape::default());
            let mut oracle = Oracle { memory: memory.cast(), memfd, child: None, loaded, shape, patience: PATIENCE };
            oracle.area(CODE, CODE_LEN).fill(0xCC);
            for (offset, bytes) in thunk::ends64() {
                oracle.write_code(offset, &bytes);
            }
            oracle.start_child()?;
            // An empty batch shows at once whether this host lets a process do what the judge needs.
            let placement =
                Placement { environment: crate::conform::layout::Environment::Segmented16, offset: HARNESS_LEN + 256 };
            oracle.load(placement, Shape::default(), &[0x90]);
            let stack = placement.environment.segments()[crate::conform::layout::seg::SS].selector;
            put32(oracle.input(), field::SS, u32::from(stack));
            oracle.run(1).map_err(|lost| format!("the native judge cannot start: {}", lost.reason))?;
            Ok(oracle)
        }

        fn area(&mut self, address: u32, len: u32) -> &mut [u8] {
            assert!(address >= LOW && address - LOW + len <= TOTAL_LEN);
            // SAFETY: inside the mapping of TOTAL_LEN bytes, and the child is idle outside `run`.
            unsafe { std::slice::from_raw_parts_mut(self.memory.add((address - LOW) as usize), len as usize) }
        }

        fn write_code(&mut self, offset: u32, bytes: &[u8]) {
            self.area(CODE + offset, bytes.len() as u32).copy_from_slice(bytes);
        }

        fn write_control(&mut self, offset: u32, value: u32) {
            put32(self.area(CTRL + offset, 4), 0, value);
        }

        fn read_control(&mut self, offset: u32) -> u32 {
            crate::conform::layout::get32(self.area(CTRL + offset, 4), 0)
        }

        /// Makes `instruction` the one that the next batches run.
        pub fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8]) {
            self.load_bytes(placement, shape);
            for (offset, bytes) in thunk::landings(placement, instruction) {
                self.write_code(offset, &bytes);
            }
        }

        /// Makes what records hold, or what is laid there next, the code that the next batches run. All else is INT3.
        pub fn load_bytes(&mut self, placement: Placement, shape: Shape) {
            if self.loaded != Some((placement, shape)) {
                let thunk = thunk::build(placement, shape);
                for (offset, bytes) in &thunk.code {
                    self.write_code(*offset, bytes);
                }
                let environment = placement.environment;
                let selector = environment.segments()[crate::conform::layout::seg::CS].selector;
                self.write_control(ctrl::START, thunk.start);
                self.write_control(ctrl::START + 4, u32::from(selector));
                self.write_control(ctrl::AFTER_FAULT, thunk.after_fault);
                self.write_control(ctrl::FX_OFFSET, if shape.fx { shape.fx_offset() as u32 } else { 0 });
                self.write_control(ctrl::CODE_BASE, environment.code_base());
                self.write_control(ctrl::STACK, STACK_TOP);
                self.write_control(ctrl::STACK + 4, 0x2B);
                self.loaded = Some((placement, shape));
                self.shape = shape;
            }
            self.area(CODE + HARNESS_LEN, CODE_LEN - HARNESS_LEN).fill(0xCC);
        }

        /// The input records.
        pub fn input(&mut self) -> &mut [u8] {
            self.area(INPUT, RECORDS_LEN)
        }

        /// Part of the input records.
        pub fn input_ref(&self, range: std::ops::Range<usize>) -> &[u8] {
            assert!(range.start <= range.end && range.end <= RECORDS_LEN as usize);
            // SAFETY: inside the mapping, and the child is idle outside `run`.
            unsafe { std::slice::from_raw_parts(self.memory.add((INPUT - LOW) as usize + range.start), range.len()) }
        }

        /// The output records.
        pub fn output(&self) -> &[u8] {
            // SAFETY: inside the mapping, and the child is idle outside `run`.
            unsafe { std::slice::from_raw_parts(self.memory.add((OUTPUT - LOW) as usize), RECORDS_LEN as usize) }
        }

        /// The memory the tested instructions work on.
        pub fn arena(&mut self) -> &mut [u8] {
            self.area(ARENA, ARENA_LEN)
        }

        /// Sets how long a child may stay at one record before it counts as hung: three minutes, unless this is called.
        /// A batch as a whole may take longer: some hosts make locked accesses that cross cache lines wait, and a batch
        /// may be made of them.
        pub fn set_patience(&mut self, patience: Duration) {
            self.patience = patience;
        }

        /// Runs the loaded instruction on the first `count` input records. When the child dies or hangs, names
        /// the record it was at; the next batch gets a new child.
        pub fn run(&mut self, count: usize) -> Result<(), Lost> {
            assert!(count <= self.shape.capacity());
            if self.child.is_none() {
                self.start_child().map_err(|reason| Lost { index: 0, reason })?;
            }
            let stride = self.shape.stride() as u32;
            self.write_control(ctrl::INPUT, INPUT);
            self.write_control(ctrl::OUTPUT, OUTPUT);
            self.write_control(ctrl::END, INPUT + stride * count as u32);
            self.write_control(ctrl::LOST, 0);
            let Some(child) = &self.child else { return Ok(()) };
            let memory = self.memory;
            let record = || {
                // SAFETY: an aligned word inside the mapping, which the child writes whole.
                unsafe { memory.add((CTRL + ctrl::INPUT - LOW) as usize).cast::<u32>().read_volatile() }
            };
            if child.batch(record, self.patience) {
                return Ok(());
            }
            let index = ((self.read_control(ctrl::INPUT).wrapping_sub(INPUT)) / stride) as usize;
            let (lost, eip) = (self.read_control(ctrl::LOST), self.read_control(ctrl::LOST + 4));
            let reason = match (lost, self.child.take()) {
                (0, Some(child)) => child.end(),
                (lost, child) => {
                    drop(child.map(Child::end));
                    format!("exception {} inside the harness at {eip:08x}", lost - 1)
                }
            };
            Err(Lost { index, reason })
        }

        fn start_child(&mut self) -> Result<(), String> {
            let mut pipes = [[0i32; 2]; 2];
            for pipe in &mut pipes {
                // SAFETY: the array has room for the two descriptors.
                if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
                    return Err(format!("the native judge cannot start: pipe: {}", Error::last_os_error()));
                }
            }
            let [[start_read, start], [done, done_write]] = pipes;
            // SAFETY: the child makes only system calls until it exits: other threads' locks do not matter.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: this is the forked child, which nothing else runs in.
                unsafe { child_main(self.memfd, start_read, done_write) }
            }
            // SAFETY: the child's ends, not used here.
            unsafe {
                libc::close(start_read);
                libc::close(done_write);
            }
            if pid < 0 {
                // SAFETY: our own ends, not used again.
                unsafe {
                    libc::close(start);
                    libc::close(done);
                }
                return Err(format!("the native judge cannot start: fork: {}", Error::last_os_error()));
            }
            self.child = Some(Child { pid, start, done });
            Ok(())
        }
    }

    impl Child {
        /// Starts a batch and waits for its end. False if the child died or hangs: `record` says where it is.
        fn batch(&self, record: impl Fn() -> u32, patience: Duration) -> bool {
            let mut byte = 1u8;
            let slice = (patience / SLICES).as_millis().try_into().unwrap_or(i32::MAX);
            // SAFETY: one byte from and to a local; the descriptors are open.
            unsafe {
                if libc::write(self.start, (&raw const byte).cast(), 1) != 1 {
                    return false;
                }
                let mut poll = libc::pollfd { fd: self.done, events: libc::POLLIN, revents: 0 };
                let (mut at, mut still) = (record(), 0);
                while still < SLICES {
                    match libc::poll(&raw mut poll, 1, slice) {
                        1 => return libc::read(self.done, (&raw mut byte).cast(), 1) == 1,
                        0 => {}
                        _ => return false,
                    }
                    let before = std::mem::replace(&mut at, record());
                    still = if at == before { still + 1 } else { 0 };
                }
                false
            }
        }

        /// Ends the child and says how it ended.
        fn end(self) -> String {
            let mut status = 0;
            // SAFETY: pid is our own child, waited for once; the descriptors are ours.
            unsafe {
                libc::close(self.start);
                libc::close(self.done);
                // A child that ended by itself has closed its pipe already: give it a moment to be reaped.
                let mut waited = 0;
                while waited < 50 && libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) == 0 {
                    libc::usleep(1000);
                    waited += 1;
                }
                if waited == 50 {
                    libc::kill(self.pid, libc::SIGKILL);
                    libc::waitpid(self.pid, &raw mut status, 0);
                    return "the child hung".to_string();
                }
            }
            if libc::WIFSIGNALED(status) {
                format!("the child died of signal {}", libc::WTERMSIG(status))
            } else {
                match libc::WEXITSTATUS(status) {
                    SETUP_MAP => "a low address is not free".to_string(),
                    SETUP_LDT => "modify_ldt is not allowed".to_string(),
                    code => format!("the child exited with {code}"),
                }
            }
        }
    }

    impl Drop for Oracle {
        fn drop(&mut self) {
            if let Some(child) = self.child.take() {
                // SAFETY: our own child.
                unsafe { libc::kill(child.pid, libc::SIGKILL) };
                child.end();
            }
            // SAFETY: mapped and opened by `new`, not used again.
            unsafe {
                libc::munmap(self.memory.cast(), TOTAL_LEN as usize);
                libc::close(self.memfd);
            }
        }
    }

    const SETUP_MAP: i32 = 10;
    const SETUP_LDT: i32 = 11;
    const SETUP_SIGNALS: i32 = 12;

    /// Maps `len` bytes of the shared memory, those that belong at `from`, at `address`.
    unsafe fn map_low(memfd: i32, address: u32, from: u32, len: u32, protection: i32) {
        // SAFETY: MAP_FIXED_NOREPLACE never replaces an existing mapping.
        let at = unsafe {
            libc::mmap(
                address as usize as *mut _,
                len as usize,
                protection,
                libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE,
                memfd,
                i64::from(from - LOW),
            )
        };
        if at as usize != address as usize {
            // SAFETY: ends this child.
            unsafe { libc::_exit(SETUP_MAP) };
        }
    }

    /// The child: sets up memory, LDT and signal handlers, then runs batches until the parent goes away.
    unsafe fn child_main(memfd: i32, start: i32, done: i32) -> ! {
        const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: system calls and fixed addresses in a process of our own.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Siblings' pipe ends must not stay open here, or their death would not be seen.
            for fd in 3..1024 {
                if fd != start && fd != done && fd != memfd {
                    libc::close(fd);
                }
            }
            map_low(memfd, CTRL, CTRL, 0x2000, RW);
            map_low(memfd, CODE, CODE, CODE_LEN, libc::PROT_READ | libc::PROT_EXEC);
            map_low(memfd, CODE_ALIAS + HARNESS_LEN, CODE + HARNESS_LEN, CODE_LEN - HARNESS_LEN, RW);
            map_low(memfd, ARENA, ARENA, ARENA_LEN, RW);
            map_low(memfd, INPUT, INPUT, RECORDS_LEN, RW);
            map_low(memfd, OUTPUT, OUTPUT, RECORDS_LEN, RW);
            libc::mprotect((CODE + ABSENT_CODE) as usize as *mut libc::c_void, PAGE, libc::PROT_NONE);
            let page = |index: u32| (ARENA as usize + index as usize * PAGE) as *mut libc::c_void;
            libc::mprotect(page(ABSENT_PAGE), PAGE, libc::PROT_NONE);
            libc::mprotect(page(READ_ONLY_PAGE), PAGE, libc::PROT_READ);
            for index in 0..ARENA_LEN / PAGE as u32 {
                if index != ABSENT_PAGE {
                    page(index).cast::<u8>().read_volatile();
                }
            }

            for (index, segment) in LDT.iter().enumerate() {
                // struct user_desc: entry number, base, limit, and the flag bits in order.
                let contents: u32 = if segment.code { 2 } else { u32::from(segment.expand_down) };
                let flags = u32::from(segment.big) | contents << 1;
                let entry = [index as u32, segment.base, segment.limit, flags];
                if libc::syscall(libc::SYS_modify_ldt, 0x11, entry.as_ptr(), 16usize) != 0 {
                    libc::_exit(SETUP_LDT);
                }
            }

            let stack =
                libc::mmap(std::ptr::null_mut(), ALTERNATE_STACK, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            let alternate = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ALTERNATE_STACK };
            let mut failed = libc::sigaltstack(&raw const alternate, std::ptr::null_mut()) != 0;
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                failed |= libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0;
            }
            let mut fs_base = 0u64;
            libc::syscall(libc::SYS_arch_prctl, 0x1003, &raw mut fs_base);
            if failed || fs_base == 0 {
                libc::_exit(SETUP_SIGNALS);
            }
            ((CTRL + ctrl::SAVED_FS_BASE) as usize as *mut u64).write(fs_base);

            let enter: extern "sysv64" fn() = std::mem::transmute((CODE + thunk::ENTER64) as usize);
            let mut byte = 0u8;
            while libc::read(start, (&raw mut byte).cast(), 1) == 1 {
                enter();
                libc::write(done, (&raw const byte).cast(), 1);
            }
            libc::_exit(0)
        }
    }

    /// Writes the state at a fault into the scratch record and lets the loop go on behind it. FS is the tested
    /// code's here: nothing may touch thread-local data.
    unsafe extern "C" fn on_fault(signal: i32, _info: *const libc::siginfo_t, context: *mut libc::ucontext_t) {
        // SAFETY: the kernel passes a valid context; the control page and the records are mapped at fixed
        // addresses. The tested code may have left EFLAGS.AC set, which no code here is made for.
        unsafe {
            std::arch::asm!("pushfq", "and dword ptr [rsp], 0xFFFBFFFF", "popfq");
            let control = |offset: u32| (CTRL + offset) as usize as *mut u32;
            let machine = &mut (*context).uc_mcontext;
            let registers = &mut machine.gregs;
            let vector = registers[libc::REG_TRAPNO as usize] as u32;
            let eip = registers[libc::REG_RIP as usize] as u32;
            let selectors = registers[libc::REG_CSGSFS as usize] as u64;
            let linear = control(ctrl::CODE_BASE).read().wrapping_add(eip);
            if selectors & 0xFFFF == 0x33 || linear.wrapping_sub(CODE) < HARNESS_LEN || signal == 0 {
                control(ctrl::LOST).write(vector + 1);
                control(ctrl::LOST + 4).write(eip);
                libc::syscall(libc::SYS_exit_group, 13);
            }
            let scratch = |offset: usize| control(ctrl::SCRATCH + offset as u32);
            let order = [
                libc::REG_RAX,
                libc::REG_RCX,
                libc::REG_RDX,
                libc::REG_RBX,
                libc::REG_RSP,
                libc::REG_RBP,
                libc::REG_RSI,
                libc::REG_RDI,
            ];
            let mut index = 0;
            while index < 8 {
                scratch(field::GPR[index]).write(registers[order[index] as usize] as u32);
                index += 1;
            }
            scratch(field::EFLAGS).write(registers[libc::REG_EFL as usize] as u32);
            scratch(field::EIP).write(eip);
            scratch(field::VECTOR).write(vector);
            scratch(field::ERROR).write(registers[libc::REG_ERR as usize] as u32);
            scratch(field::CR2).write(registers[libc::REG_CR2 as usize] as u32);
            let fx = control(ctrl::FX_OFFSET).read();
            if fx != 0 {
                let from = machine.fpregs.cast::<u64>();
                let to = (control(ctrl::OUTPUT).read() + fx) as usize as *mut u64;
                let mut at = 0;
                while at < 64 {
                    to.add(at).write(from.add(at).read());
                    at += 1;
                }
            }
            registers[libc::REG_RIP as usize] = i64::from(control(ctrl::AFTER_FAULT).read());
            registers[libc::REG_RSP as usize] = i64::from(STACK_TOP);
            registers[libc::REG_EFL as usize] = 0x202;
            // The flat stack segment in the selector word's top quarter.
            registers[libc::REG_CSGSFS as usize] = (selectors & 0x0000_FFFF_FFFF_FFFF | 0x2B << 48) as i64;
        }
    }
}

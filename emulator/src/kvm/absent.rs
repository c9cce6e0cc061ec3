//! What stands in for KVM where it is not built.

use crate::bus::SystemBus;
use crate::error::{Error, Result};
use ring86_devices::Time;
use ring86_translator::{Cpu, Exit};

/// A processor of KVM's, of which there can be none.
#[derive(Debug)]
pub enum Kvm {}

/// Why guests cannot run on KVM here, in one sentence.
pub fn trouble() -> Option<String> {
    Some(if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        "not in this binary: build it with 'cargo build --release --features kvm'".to_owned()
    } else {
        "KVM for x86 guests exists on Linux on x86-64 only".to_owned()
    })
}

impl Kvm {
    /// Says that there is none.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &Cpu) -> Result<Self> {
        Err(Error::new(format!("--engine kvm: {}", trouble().unwrap_or_default())))
    }

    /// The processor's state was changed from outside.
    pub fn changed(&mut self) {
        match *self {}
    }

    /// Runs the guest.
    ///
    /// # Errors
    /// Never, since there is none.
    pub fn run(&mut self, _: &mut Cpu, _: &mut SystemBus, _: Time) -> Result<Exit> {
        match *self {}
    }

    /// Exits from the guest by kind.
    pub fn exits(&self) -> Vec<(&'static str, u64, u64)> {
        match *self {}
    }
}

//! The chips of a PC.
//!
//! A chip here knows no CPU, thread, wall clock or window. It is driven through small capability traits
//! ([`PortIo`], [`Mmio`], [`Timed`], [`PciFunction`], [`DmaPeer`]), is told the guest time on every access,
//! and talks to the rest of the machine through the wires of [`wire`]: it is handed an [`IrqLine`], never an
//! interrupt number.
//!
//! | module | chip |
//! |---|---|
//! | [`pic`] | two 8259A with ELCR |
//! | [`apic`] | local APIC, 82093AA I/O APIC |
//! | [`hpet`] | high precision event timers |
//! | [`pit`] | 8254 and port 61h |
//! | [`rtc`] | MC146818 with 256 bytes of CMOS |
//! | [`i8042`] | keyboard controller, keyboard, mouse |
//! | [`uart`] | 16550A |
//! | [`port92`], [`debug`] | fast A20 and reset; debug console, exit and POST code ports |
//! | [`dma`] | two 8237A with page registers |
//! | [`floppy`] | 82077AA with two drives |
//! | [`fw_cfg`] | QEMU's firmware configuration device |
//! | [`hotplug`] | QEMU's hot-plug registers, where nothing can be plugged in |
//! | [`ide`] | PIIX3 IDE: ATA disks, ATAPI CD-ROM, bus master |
//! | [`net`] | NE2000 on ISA and PCI, RTL8139C+ |
//! | [`pci`] | mechanism #1, 440FX, PIIX3 bridge, PIIX4 power management, expansion ROMs |
//! | [`sound`] | what can be heard, as steps at guest times; YMF262, Sound Blaster 16 |
//! | [`parallel`], [`game_port`] | printer port; joystick port |
//! | [`vga`] | VGA registers, memory, picture; Bochs display interface with linear frame buffer on PCI |
//!
//! Each chip is a folder: `spec` (register names from the datasheet, source on the first line), behaviour,
//! tests. Port numbers passed to [`PortIo`] are absolute; chips that decode a handful of address lines
//! (a UART, say) look at the low bits only, so the board decides where they sit.
#![forbid(unsafe_code)]

pub mod apic;
pub mod capability;
pub mod clock;
pub mod debug;
pub mod dma;
pub mod floppy;
pub mod fw_cfg;
pub mod game_port;
pub mod hotplug;
pub mod hpet;
pub mod i8042;
pub mod ide;
pub mod net;
mod once;
pub mod parallel;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod port92;
pub mod rtc;
pub mod sound;
pub mod test_device;
pub mod uart;
pub mod vga;
pub mod wire;

pub use capability::{BlockMedia, BytePorts, DmaPeer, GuestMemory, Mmio, PciFunction, PortIo, Timed, VideoRam};
pub use clock::Time;
pub use wire::{IrqInputs, IrqLine, Latch, Level, Router};

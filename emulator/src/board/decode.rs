//! What moves when configuration registers change: ports, memory of cards, shadowed ROM.

use super::Board;
use crate::layout::{CardMemory, Shadowing};
use ring86_devices::pci::i440fx::smram;
use ring86_devices::{PortIo, Time, Timed};

impl Board {
    /// After configuration registers changed: moves ports and memory where they say.
    pub(super) fn follow_pci(&mut self) {
        if self.host_bridge.lock().take_mapping_change() {
            let regions = self.host_bridge.lock().pam().map(|r| Shadowing {
                start: r.start.into(),
                len: r.length.into(),
                read_ram: r.read_ram,
                write_ram: r.write_ram,
            });
            self.layout.shadow(&regions);
            let open = smram::SMRAME | smram::DOPEN;
            self.layout.open_smram(self.host_bridge.lock().smram() & open == open);
        }
        if self.power.lock().take_decode_change() {
            let ranges: Vec<_> = self.power.lock().io_ranges().collect();
            self.move_ports(self.power_chip, &ranges);
        }
        if self.ide.lock().take_decode_change() {
            let base = self.ide.lock().bus_master_base();
            let mut ranges = vec![(0x1f0, 8), (0x3f6, 1), (0x170, 8), (0x376, 1)];
            ranges.extend(base.map(|base| (base, 16)));
            self.move_ports(self.ide_chip, &ranges);
        }
        let mut vga = self.vga.lock();
        if vga.take_decode_change() {
            self.layout.place_card_memory(CardMemory::FrameBuffer, vga.frame_buffer());
            self.display_registers = vga.register_window();
        }
        drop(vga);
        for (card, rom) in &self.roms {
            let mut rom = rom.lock();
            if rom.take_change() {
                self.layout.place_card_memory(*card, rom.place());
            }
        }
        self.follow_network();
    }

    /// Whether the display adapter's registers answer at `address` in memory.
    pub fn display_claims(&self, address: u64) -> bool {
        self.display_registers.is_some_and(|start| address.wrapping_sub(start) < 0x1000)
    }

    /// After an access to the network card or its configuration: moves its ports and memory where it says.
    pub(super) fn follow_network(&mut self) {
        let Some(network) = &self.network else { return };
        let mut network = network.lock();
        let card = network.card();
        if !card.take_decode_change() {
            return;
        }
        self.network_memory = card.memory_range();
        let ports: Vec<_> = card.io_range().into_iter().collect();
        drop(network);
        self.move_ports(self.network_chip, &ports);
    }

    /// Whether the network card's registers answer at `address` in memory.
    pub fn network_claims(&self, address: u64) -> bool {
        self.network_memory.is_some_and(|(start, len)| address.wrapping_sub(start) < len)
    }

    /// A read from the network card's registers in memory. Returns the value and when the card next wants attention.
    pub fn network_read(&mut self, now: Time, address: u64, size: u8) -> (u64, Option<Time>) {
        let Some(mut network) = self.network.clone() else { return (u64::MAX, None) };
        // The card decodes the low bits only, the same registers in memory as in ports.
        let mut half = |at: u64, size| u64::from(network.port_read(now, at as u16, size));
        let low = half(address, size.min(4));
        let high = if size == 8 { half(address.wrapping_add(4), 4) } else { 0 };
        self.run_dma(now);
        (low | high << 32, network.next_event())
    }

    /// A write to the network card's registers in memory. Returns when the card next wants attention.
    pub fn network_write(&mut self, now: Time, address: u64, size: u8, value: u64) -> Option<Time> {
        let mut network = self.network.clone()?;
        network.port_write(now, address as u16, size.min(4), value as u32);
        if size == 8 {
            network.port_write(now, (address as u16).wrapping_add(4), 4, (value >> 32) as u32);
        }
        self.run_dma(now);
        network.next_event()
    }

    /// Gives the chip with table number `number` exactly these ports (first, count), where nobody else sits.
    pub(super) fn move_ports(&mut self, number: usize, ranges: &[(u16, u16)]) {
        let number = number as u8;
        for entry in self.map.iter_mut().filter(|entry| **entry == number) {
            *entry = 0;
        }
        for (base, count) in ranges {
            for entry in self.map.iter_mut().skip((*base).into()).take((*count).into()) {
                if *entry == 0 {
                    *entry = number;
                }
            }
        }
    }
}

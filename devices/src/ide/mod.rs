//! The PIIX3's IDE function: two channels with ATA disks and ATAPI CD-ROM drives, PIO and bus master DMA.

mod cdrom;
mod channel;
mod device;
mod disk;
mod identify;
mod packets;
mod sector;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::pci::ConfigSpace;
use crate::pci::spec::{command, header};
use crate::{BlockMedia, GuestMemory, IrqLine, PciFunction, PortIo, Time};
use cdrom::Cdrom;
use channel::Channel;
use device::{Device, Kind};
use disk::Disk;
use spec::{bus_master as bm, register};

/// IDE timing register of the first channel; bit 15 makes the channel decode its ports.
const IDETIM: u8 = 0x40;
/// Bus master interface base address.
const BMIBA: u8 = 0x20;
/// Ports of the bus master interface.
const BUS_MASTER_SIZE: u16 = 16;

/// The IDE controller, function 1 of the PIIX3, with its cables.
///
/// Ports: 1F0h-1F7h and 3F6h for channel 0, 170h-177h and 376h for channel 1, and the bus master interface
/// wherever configuration space puts it ([`IdeController::bus_master_base`]). A channel answers only once firmware
/// enabled it in configuration space ([`IdeController::firmware_defaults`] does the same).
#[derive(Debug)]
pub struct IdeController {
    // Parts.
    channels: [Channel; 2],
    /// Writable bits of BMIBA.
    base_mask: u32,
    // Volatile state.
    space: ConfigSpace,
    decode_changed: bool,
}

impl IdeController {
    /// A controller with empty cables; one interrupt line for each channel (IRQ 14 and 15 on a PC).
    pub fn new(irqs: [IrqLine; 2]) -> Self {
        let base_mask = 0xFFF0;
        let space = Self::registers(base_mask);
        Self { channels: irqs.map(Channel::new), base_mask, space, decode_changed: true }
    }

    /// Lets all of the bus master base register be written. The PIIX3's upper half is hardwired to zero, which SeaBIOS
    /// takes for a decoder of 4 GiB of ports.
    pub fn with_wide_base(self) -> Self {
        let base_mask = 0xFFFF_FFF0;
        Self { base_mask, space: Self::registers(base_mask), ..self }
    }

    fn registers(base_mask: u32) -> ConfigSpace {
        // Bus master capable, both channels in compatibility mode.
        let mut space = ConfigSpace::new(0x8086, 0x7010, 0x01_0180, 0);
        space.register(header::COMMAND, 2, 0, u32::from(command::IOSE | command::BME));
        space.register(header::STATUS, 2, 0x0280, 0);
        space.write_one_to_clear(header::STATUS + 1, 0x38);
        space.register(0x0D, 1, 0, 0xF0);
        space.register(BMIBA, 4, 1, base_mask);
        space.register(IDETIM, 2, 0, 0xF3FF);
        space.register(IDETIM + 2, 2, 0, 0xF3FF);
        space.register(0x44, 1, 0, 0xFF);
        space
    }

    /// Enables both channels as a BIOS does, for machines that start without one.
    pub fn firmware_defaults(&mut self) {
        self.space.set16(header::COMMAND, command::IOSE | command::BME);
        self.space.set16(IDETIM, 0x8000);
        self.space.set16(IDETIM + 2, 0x8000);
        self.decode_changed = true;
    }

    /// The system's reset; media stay.
    pub fn reset(&mut self) {
        self.space = Self::registers(self.base_mask);
        self.decode_changed = true;
        for channel in &mut self.channels {
            channel.reset();
        }
    }

    /// Attaches a disk as device `unit` (0, 1) of `channel` (0, 1). Its serial number should tell it apart.
    pub fn attach_disk(&mut self, channel: usize, unit: usize, media: Box<dyn BlockMedia>, serial: &str) {
        self.channels[channel & 1].devices[unit & 1] = Some(Device::new(Kind::Disk(Disk::new(media)), serial));
    }

    /// Attaches a CD-ROM drive, with or without a disc, as device `unit` of `channel`.
    pub fn attach_cdrom(&mut self, channel: usize, unit: usize, disc: Option<Box<dyn BlockMedia>>, serial: &str) {
        self.channels[channel & 1].devices[unit & 1] = Some(Device::new(Kind::Cdrom(Cdrom::new(disc)), serial));
    }

    fn cdrom(&mut self, channel: usize, unit: usize) -> Option<&mut Cdrom> {
        match &mut self.channels.get_mut(channel)?.devices.get_mut(unit)?.as_mut()?.kind {
            Kind::Cdrom(cdrom) => Some(cdrom),
            Kind::Disk(_) => None,
        }
    }

    /// Changes the disc of a CD-ROM drive; the old one comes back. Without such a drive the new one comes back.
    pub fn insert_disc(
        &mut self,
        channel: usize,
        unit: usize,
        disc: Option<Box<dyn BlockMedia>>,
    ) -> Option<Box<dyn BlockMedia>> {
        match self.cdrom(channel, unit) {
            Some(cdrom) => cdrom.insert(disc),
            None => disc,
        }
    }

    /// Whether the guest asked for a CD-ROM drive's tray to open since this was last asked.
    pub fn take_eject_request(&mut self, channel: usize, unit: usize) -> bool {
        self.cdrom(channel, unit).is_some_and(|cdrom| std::mem::take(&mut cdrom.eject_requested))
    }

    /// Whether the guest locked a CD-ROM drive's tray.
    pub fn is_locked(&mut self, channel: usize, unit: usize) -> bool {
        self.cdrom(channel, unit).is_some_and(|cdrom| cdrom.is_locked())
    }

    /// First port of the bus master interface, while it is decoded.
    pub fn bus_master_base(&self) -> Option<u16> {
        let base = self.space.get32(BMIBA) & 0xFFFF_FFF0;
        let base = u16::try_from(base).unwrap_or(0);
        (base != 0 && self.space.get16(header::COMMAND) & command::IOSE != 0).then_some(base)
    }

    /// Whether `port` is decoded at present.
    pub fn claims(&self, port: u16) -> bool {
        self.legacy(port).is_some() || self.bus_master(port).is_some()
    }

    /// Whether what is decoded changed since this was last asked.
    pub fn take_decode_change(&mut self) -> bool {
        std::mem::take(&mut self.decode_changed)
    }

    /// Whether a DMA transfer waits for [`IdeController::run_dma`].
    pub fn dma_pending(&self) -> bool {
        self.space.get16(header::COMMAND) & command::BME != 0 && self.channels.iter().any(Channel::dma_ready)
    }

    /// Performs waiting DMA transfers; the board calls this after port writes.
    pub fn run_dma(&mut self, memory: &mut dyn GuestMemory) {
        if self.dma_pending() {
            for channel in &mut self.channels {
                channel.run_dma(memory);
            }
        }
    }

    /// The channel that decodes a legacy port.
    fn legacy(&self, port: u16) -> Option<usize> {
        let channel = match port {
            0x1F0..=0x1F7 | 0x3F6 => 0,
            0x170..=0x177 | 0x376 => 1,
            _ => return None,
        };
        let enabled = self.space.get16(IDETIM + 2 * channel as u8) & 0x8000 != 0
            && self.space.get16(header::COMMAND) & command::IOSE != 0;
        enabled.then_some(channel)
    }

    /// Channel and register of a bus master port.
    fn bus_master(&self, port: u16) -> Option<(usize, u16)> {
        let offset = port.wrapping_sub(self.bus_master_base()?);
        (offset < BUS_MASTER_SIZE).then_some((usize::from(offset >> 3), offset & 7))
    }

    fn read_byte(&mut self, port: u16) -> u8 {
        if let Some((channel, number)) = self.bus_master(port) {
            let channel = &self.channels[channel];
            return match number {
                0 => channel.bm_command,
                2 => channel.bm_status,
                4..=7 => (channel.bm_table >> (8 * (number - 4))) as u8,
                _ => 0,
            };
        }
        let Some(index) = self.legacy(port) else { return 0xFF };
        let channel = &mut self.channels[index];
        if port & register::CONTROL_BLOCK != 0 || (channel.in_reset() && port & 7 == register::STATUS_COMMAND) {
            channel.alternate_status()
        } else {
            channel.read(port & 7)
        }
    }

    fn write_byte(&mut self, port: u16, value: u8) {
        if let Some((index, number)) = self.bus_master(port) {
            let channel = &mut self.channels[index];
            match number {
                0 => {
                    let started = value & !channel.bm_command & bm::START != 0;
                    channel.bm_command = value & (bm::START | bm::TO_MEMORY);
                    if started {
                        channel.bm_status |= bm::ACTIVE;
                    } else if value & bm::START == 0 {
                        channel.bm_status &= !bm::ACTIVE;
                    }
                }
                2 => {
                    let kept = channel.bm_status & !(value & (bm::ERROR | bm::INTERRUPT));
                    channel.bm_status = kept & !bm::CAPABLE | value & bm::CAPABLE;
                }
                4..=7 => {
                    let shift = 8 * (number - 4);
                    let cleared = channel.bm_table & !(0xFF << shift);
                    channel.bm_table = (cleared | u32::from(value) << shift) & !3;
                }
                _ => {}
            }
            return;
        }
        let Some(index) = self.legacy(port) else { return };
        let channel = &mut self.channels[index];
        if port & register::CONTROL_BLOCK != 0 {
            channel.write_control(value);
        } else {
            channel.write(port & 7, value);
        }
    }

    /// The channel whose data register `port` is.
    fn data_channel(&mut self, port: u16) -> Option<&mut Channel> {
        let is_data = port & 7 == register::DATA && port & register::CONTROL_BLOCK == 0;
        let index = self.legacy(port).filter(|_| is_data)?;
        Some(&mut self.channels[index])
    }
}

impl PortIo for IdeController {
    fn port_read(&mut self, _now: Time, port: u16, size: u8) -> u32 {
        if let Some(channel) = self.data_channel(port) {
            let low = u32::from(channel.read_data());
            return match size {
                1 => low & 0xFF,
                2 => low,
                _ => low | u32::from(channel.read_data()) << 16,
            };
        }
        (0..size.min(4))
            .fold(0, |value, i| value | u32::from(self.read_byte(port.wrapping_add(u16::from(i)))) << (8 * i))
    }

    fn port_write(&mut self, _now: Time, port: u16, size: u8, value: u32) {
        if let Some(channel) = self.data_channel(port) {
            channel.write_data(value as u16);
            if size == 4 {
                channel.write_data((value >> 16) as u16);
            }
            return;
        }
        for i in 0..size.min(4) {
            self.write_byte(port.wrapping_add(u16::from(i)), (value >> (8 * i)) as u8);
        }
    }
}

impl PciFunction for IdeController {
    fn config_read(&mut self, offset: u8, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u8, size: u8, value: u32) {
        let before = (self.bus_master_base(), self.legacy(0x1F0), self.legacy(0x170));
        self.space.write(offset, size, value);
        self.decode_changed |= (self.bus_master_base(), self.legacy(0x1F0), self.legacy(0x170)) != before;
    }
}

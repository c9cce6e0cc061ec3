//! One IDE channel: a cable with up to two devices.

use super::device::Device;
use super::disk::SECTOR;
use super::spec::{bus_master as bm, command, control, device, register};
use crate::{GuestMemory, IrqLine};

/// A channel with its bus master registers.
#[derive(Debug)]
pub(super) struct Channel {
    // Wiring.
    irq: IrqLine,
    // Parts.
    pub(super) devices: [Option<Device>; 2],
    // Volatile state.
    select: u8,
    control: u8,
    pub(super) bm_command: u8,
    pub(super) bm_status: u8,
    pub(super) bm_table: u32,
    /// The interrupt as last driven, to note its rise in the bus master status.
    raised: bool,
}

impl Channel {
    pub(super) fn new(irq: IrqLine) -> Self {
        Self {
            irq,
            devices: [None, None],
            select: 0,
            control: 0,
            bm_command: 0,
            bm_status: 0,
            bm_table: 0,
            raised: false,
        }
    }

    pub(super) fn reset(&mut self) {
        (self.select, self.control) = (0, 0);
        (self.bm_command, self.bm_status, self.bm_table) = (0, 0, 0);
        for device in self.devices.iter_mut().flatten() {
            device.hardware_reset();
        }
        self.update_irq();
    }

    fn index(&self) -> usize {
        usize::from(self.select & device::DEV != 0)
    }

    pub(super) fn selected(&mut self) -> Option<&mut Device> {
        self.devices[self.index()].as_mut()
    }

    pub(super) fn update_irq(&mut self) {
        let wanted = self.devices[self.index()].as_ref().is_some_and(|device| device.interrupt);
        let raised = wanted && self.control & control::NIEN == 0;
        if raised && !self.raised {
            self.bm_status |= bm::INTERRUPT;
        }
        self.raised = raised;
        self.irq.set_level(raised);
    }

    /// What a read gives where the selected device is missing: device 0 answers for device 1, with a status of 0;
    /// an empty cable reads as the pull-down on its bit 7 leaves it.
    fn absent(&self, number: u16) -> u8 {
        if self.devices.iter().all(Option::is_none) {
            0x7F
        } else if number == register::STATUS_COMMAND {
            0
        } else {
            0xFF
        }
    }

    pub(super) fn read_data(&mut self) -> u16 {
        let value = self.selected().map_or(0xFFFF, Device::read_data);
        self.update_irq();
        value
    }

    pub(super) fn write_data(&mut self, value: u16) {
        if let Some(device) = self.selected() {
            device.write_data(value);
        }
        self.update_irq();
    }

    /// Reads a command block register other than data.
    pub(super) fn read(&mut self, number: u16) -> u8 {
        let absent = self.absent(number);
        let (select, high_order) = (self.select, Device::high_order(self.control));
        let Some(device) = self.selected() else { return absent };
        match number {
            register::ERROR_FEATURES => device.error(),
            register::DEVICE => select & 0xF0 | device::OBSOLETE | device.select & 0x0F,
            register::STATUS_COMMAND => {
                let status = device.status();
                device.interrupt = false;
                self.update_irq();
                status
            }
            _ => device.read_task(number, high_order),
        }
    }

    /// Writes a command block register other than data. Both devices take what goes to the task file.
    pub(super) fn write(&mut self, number: u16, value: u8) {
        self.control &= !control::HOB;
        match number {
            register::STATUS_COMMAND if value == command::DIAGNOSTIC => {
                self.select = 0;
                for device in self.devices.iter_mut().flatten() {
                    device.command(value);
                }
            }
            register::STATUS_COMMAND => {
                if let Some(device) = self.selected() {
                    device.command(value);
                }
            }
            register::DEVICE => {
                self.select = value;
                for device in self.devices.iter_mut().flatten() {
                    device.select = value;
                }
            }
            _ => {
                for device in self.devices.iter_mut().flatten() {
                    device.write_task(number, value);
                }
            }
        }
        self.update_irq();
    }

    /// The alternate status: as the status, but the interrupt stays.
    pub(super) fn alternate_status(&mut self) -> u8 {
        let absent = self.absent(register::STATUS_COMMAND);
        if self.control & control::SRST != 0 {
            return super::spec::status::BSY;
        }
        self.selected().map_or(absent, |device| device.status())
    }

    pub(super) fn write_control(&mut self, value: u8) {
        let released = self.control & !value & control::SRST != 0;
        self.control = value;
        if released {
            self.select = 0;
            for device in self.devices.iter_mut().flatten() {
                device.reset();
            }
        }
        self.update_irq();
    }

    pub(super) fn in_reset(&self) -> bool {
        self.control & control::SRST != 0
    }

    /// Whether a device and the bus master are both ready to move data.
    pub(super) fn dma_ready(&self) -> bool {
        let device = self.devices[self.index()].as_ref();
        let direction = device.and_then(Device::dma_direction);
        let active = self.bm_command & bm::START != 0 && self.bm_status & bm::ACTIVE != 0;
        active && direction == Some(self.bm_command & bm::TO_MEMORY != 0)
    }

    /// Moves the whole of a waiting DMA command along the physical region descriptors.
    pub(super) fn run_dma(&mut self, memory: &mut dyn GuestMemory) {
        if !self.dma_ready() {
            return;
        }
        let index = self.index();
        let Some(device) = self.devices[index].as_mut() else { return };
        let to_memory = self.bm_command & bm::TO_MEMORY != 0;
        let mut table = u64::from(self.bm_table & !3);
        let (mut address, mut length, mut last) = (0u64, 0usize, false);
        let (mut complete, mut short) = (true, false);
        let mut sector = [0; SECTOR];
        'pieces: while device.dma_direction() == Some(to_memory) {
            let size = device.dma_length();
            let Some(data) = sector.get_mut(..size).filter(|data| !data.is_empty()) else { break };
            if to_memory && !device.dma_piece(data) {
                complete = false;
                break;
            }
            let mut done = 0;
            while done < size {
                if length == 0 {
                    if last {
                        // The table is shorter than the command: the device still wants to move data.
                        short = true;
                        break 'pieces;
                    }
                    let mut descriptor = [0; 8];
                    memory.read(table, &mut descriptor);
                    table += 8;
                    let [a, b, c, d, e, f, g, h] = descriptor;
                    address = u64::from(u32::from_le_bytes([a, b, c, d]) & !1);
                    let control = u32::from_le_bytes([e, f, g, h]);
                    length = match (control & 0xFFFE) as usize {
                        0 => 0x1_0000,
                        length => length,
                    };
                    last = control & bm::END_OF_TABLE != 0;
                }
                let part = length.min(size - done);
                if to_memory {
                    memory.write(address, &data[done..done + part]);
                } else {
                    memory.read(address, &mut data[done..done + part]);
                }
                (address, length, done) = (address + part as u64, length - part, done + part);
            }
            if !to_memory && !device.dma_piece(data) {
                complete = false;
                break;
            }
        }
        // A table longer than the command leaves the engine active; an exact one ends it.
        if short || (complete && last && length == 0) {
            self.bm_status &= !bm::ACTIVE;
        }
        self.update_irq();
    }
}

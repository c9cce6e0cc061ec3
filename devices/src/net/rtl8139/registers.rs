//! The RTL8139's registers as the guest reads and writes them.

use super::spec::{cpcr, cr, cr_9346, dtccr, isr, rcr, register as r, tcr, tppoll, tsd};
use super::{Rtl8139, TIMER};
use crate::Time;

impl Rtl8139 {
    /// Reads `size` bytes from register `at` on.
    pub(super) fn read(&mut self, now: Time, at: u8, size: u8) -> u32 {
        self.now = now;
        (0..size.min(4)).fold(0, |value, i| value | u32::from(self.read8(now, at.wrapping_add(i))) << (8 * i))
    }

    fn read8(&mut self, now: Time, at: u8) -> u8 {
        let part = |value: u32, first: u8| (value >> (8 * (at - first))) as u8;
        match at {
            r::IDR0..0x08 => self.id[usize::from(at)],
            r::MAR0..0x10 => self.multicast[usize::from(at & 7)],
            r::TSD0..0x20 if self.cplus.sends() => (self.cplus.tally_address() >> (8 * (at & 7))) as u8,
            r::TSD0..0x20 => part(self.tx_status[usize::from(at >> 2 & 3)], at & !3),
            r::TSAD0..0x30 => part(self.tx_address[usize::from(at >> 2 & 3)], at & !3),
            r::RBSTART..0x34 => part(self.rx_start, r::RBSTART),
            r::CR => self.command & !cr::BUFE | if self.buffer_is_empty() { cr::BUFE } else { 0 },
            r::CAPR..0x3A => part(self.read_pointer.into(), r::CAPR),
            r::CBR..0x3C => part(self.write_pointer.into(), r::CBR),
            r::IMR..0x3E => part(self.mask.into(), r::IMR),
            r::ISR..0x40 => part(self.status.into(), r::ISR),
            r::TCR..0x44 => part(self.tx_config | tcr::HWVERID, r::TCR),
            r::RCR..0x48 => part(self.rx_config, r::RCR),
            r::TCTR..0x4C => part(TIMER.ticks(now).wrapping_sub(self.timer_base) as u32, r::TCTR),
            r::MPC..0x50 => part(self.missed, r::MPC),
            r::CR_9346 => {
                let data = if self.eeprom_mode == cr_9346::EEM_PROGRAM { self.eeprom.read() } else { cr_9346::EEDO };
                self.eeprom_mode | data
            }
            r::CONFIG0 => self.config[0],
            r::CONFIG1 => self.config[1],
            r::TIMER_INT..=0x57 => part(self.timer_interrupt, r::TIMER_INT),
            // Link up at 100 Mbit/s, flow control partner idle, auxiliary power absent.
            r::MSR => 0,
            r::CONFIG3 => self.config[3],
            r::CONFIG4 => self.config[4],
            r::RERID => 0x10,
            r::TSAD..0x62 => part(self.all_tx_status().into(), r::TSAD),
            r::BMCR..0x64 => part(self.basic_control.into(), r::BMCR),
            // All speeds, auto-negotiation complete, link up.
            r::BMSR..0x66 => part(0x782D, r::BMSR),
            r::ANAR..0x68 => part(self.advertisement.into(), r::ANAR),
            r::ANLPAR..0x6A => part(0x45E1, r::ANLPAR),
            r::ANER..0x6C => part(0x0001, r::ANER),
            r::CONFIG5 => self.config[5],
            r::CPCR..0xE2 => part(self.cplus.command().into(), r::CPCR),
            r::RDSAR..0xEC => (self.cplus.receive_ring() >> (8 * (at - r::RDSAR))) as u8,
            _ => 0,
        }
    }

    /// OWN, TABT, TUN and TOK of the four descriptors.
    fn all_tx_status(&self) -> u16 {
        self.tx_status.iter().enumerate().fold(0, |all, (i, &status)| {
            let bit = |mask: u32, place: usize| u16::from(status & mask != 0) << (place + i);
            all | bit(tsd::OWN, 0) | bit(tsd::TABT, 4) | bit(tsd::TOK, 12)
        })
    }

    /// Writes `size` bytes from register `at` on.
    pub(super) fn write(&mut self, now: Time, at: u8, size: u8, value: u32) {
        self.now = now;
        self.written = now;
        self.cplus.guest_acted();
        // A transmit status written as a whole starts one transmission, not four.
        if size == 4 && at & 3 == 0 && (r::TSD0..r::TSAD0).contains(&at) && !self.cplus.sends() {
            self.write_tx_status(usize::from(at >> 2 & 3), value);
            return;
        }
        for i in 0..size.min(4) {
            self.write8(now, at.wrapping_add(i), (value >> (8 * i)) as u8);
        }
    }

    fn write_tx_status(&mut self, i: usize, value: u32) {
        let kept = self.tx_status[i] & !(tsd::SIZE | tsd::OWN | tsd::ERTXTH | tsd::TOK | tsd::TABT);
        self.tx_status[i] = kept | value & (tsd::SIZE | tsd::OWN | tsd::ERTXTH);
        if value & tsd::OWN == 0 {
            self.tx_waiting[i] = true;
        }
    }

    fn write8(&mut self, now: Time, at: u8, value: u8) {
        let merge = |old: u32, first: u8| {
            let shift = 8 * (at - first);
            old & !(0xFF << shift) | u32::from(value) << shift
        };
        let merge16 = |old: u16, first: u8| merge(old.into(), first) as u16;
        match at {
            r::IDR0..0x06 => self.id[usize::from(at)] = value,
            r::MAR0..0x10 => self.multicast[usize::from(at & 7)] = value,
            r::DTCCR..0x18 if self.cplus.sends() => {
                self.cplus.write_tally(at - r::DTCCR, value);
                if at == r::DTCCR && u32::from(value) & dtccr::CMD != 0 {
                    self.cplus.request_tallies();
                }
            }
            r::TSD0..0x20 => {
                let i = usize::from(at >> 2 & 3);
                let whole = merge(self.tx_status[i], at & !3);
                // The byte with OWN decides.
                if at & 3 == 1 {
                    self.write_tx_status(i, whole);
                } else {
                    self.tx_status[i] = whole;
                }
            }
            r::TSAD0..0x30 => {
                let i = usize::from(at >> 2 & 3);
                self.tx_address[i] = merge(self.tx_address[i], at & !3);
                self.cplus.write_transmit_ring(at - r::TSAD0, value);
            }
            r::RBSTART..0x34 => self.rx_start = merge(self.rx_start, r::RBSTART),
            r::CR => self.write_command(value),
            r::CAPR..0x3A => self.read_pointer = merge16(self.read_pointer, r::CAPR),
            r::IMR..0x3E => self.mask = merge16(self.mask, r::IMR) & isr::MASK,
            r::ISR..0x40 => self.status &= !merge16(0, r::ISR),
            r::TCR..0x44 => self.tx_config = merge(self.tx_config, r::TCR) & tcr::WRITABLE,
            r::RCR..0x48 => self.rx_config = merge(self.rx_config, r::RCR) & rcr::MASK,
            r::TCTR..0x4C => {
                self.timer_base = TIMER.ticks(now);
                self.timer_seen = self.timer_base;
            }
            r::MPC..0x50 => self.missed = 0,
            r::CR_9346 => {
                self.eeprom_mode = value & cr_9346::EEM;
                match self.eeprom_mode {
                    cr_9346::EEM_PROGRAM => self.eeprom.write(value & 0x0E),
                    cr_9346::EEM_AUTOLOAD => {
                        self.load_eeprom();
                        self.eeprom_mode = 0;
                    }
                    _ => self.eeprom.write(0),
                }
            }
            r::CONFIG0 | r::CONFIG1 | r::CONFIG3 | r::CONFIG4 | r::CONFIG5 => self.write_configuration(at, value),
            r::TIMER_INT..=0x57 => {
                self.timer_interrupt = merge(self.timer_interrupt, r::TIMER_INT);
                self.timer_seen = TIMER.ticks(now);
            }
            r::BMCR..0x64 => {
                // Reset and restart of auto-negotiation are over at once.
                self.basic_control = merge16(self.basic_control, r::BMCR) & 0x3100;
            }
            r::ANAR..0x68 => self.advertisement = merge16(self.advertisement, r::ANAR),
            r::TPPOLL => {
                self.cplus.poll(value & tppoll::HPQ != 0, value & tppoll::NPQ != 0);
                if value & tppoll::FSWINT != 0 {
                    self.raise(isr::SWINT);
                }
            }
            r::CPCR..0xE2 => {
                let value = merge16(self.cplus.command(), r::CPCR) & cpcr::MASK;
                self.cplus.set_command(value);
            }
            r::RDSAR..0xEC => self.cplus.write_receive_ring(at - r::RDSAR, value),
            // Read-only registers, and the PHY's test registers, to which drivers write magic numbers.
            _ => {}
        }
        self.update_irq();
    }

    fn write_command(&mut self, value: u8) {
        if value & cr::RST != 0 {
            self.soft_reset();
            return;
        }
        let started = value & !self.command;
        self.command = value & (cr::RE | cr::TE);
        if started & cr::RE != 0 {
            self.write_pointer = 0;
            self.cplus.restart_receiver();
        }
        if started & cr::TE != 0 {
            self.cplus.restart_transmitter();
        }
    }

    fn write_configuration(&mut self, at: u8, value: u8) {
        if self.eeprom_mode != cr_9346::EEM_CONFIG {
            return;
        }
        match at {
            r::CONFIG1 => self.config[1] = self.config[1] & 0x0C | value & !0x0C,
            r::CONFIG3 => self.config[3] = self.config[3] & 0x41 | value & !0x41,
            r::CONFIG4 => self.config[4] = value,
            r::CONFIG5 => self.config[5] = value,
            _ => {}
        }
    }

    // ----------------------------------------------------------------------------------------------------- timer

    /// Ticks at which the timer's count next equals TimerInt.
    fn timer_match(&self) -> Option<u64> {
        if self.timer_interrupt == 0 {
            return None;
        }
        // The count is 32 bits wide and comes round.
        let seen = self.timer_seen.wrapping_sub(self.timer_base);
        let ahead = self.timer_interrupt.wrapping_sub(seen as u32);
        self.timer_seen.checked_add(if ahead == 0 { 1 << 32 } else { ahead.into() })
    }

    pub(super) fn timer_event(&self) -> Option<Time> {
        TIMER.time_of(self.timer_match()?)
    }

    pub(super) fn check_timer(&mut self, now: Time) {
        let ticks = TIMER.ticks(now);
        if self.timer_match().is_some_and(|at| at <= ticks) {
            self.raise(isr::TIMEOUT);
        }
        self.timer_seen = ticks.max(self.timer_seen);
    }
}

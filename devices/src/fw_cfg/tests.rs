//! The device as SeaBIOS uses it, and misused.

use super::spec::{DATA, DMA_ADDRESS, SELECTOR, dma_control, key};
use super::*;

struct Ram(Vec<u8>);

impl GuestMemory for Ram {
    fn read(&mut self, address: u64, buffer: &mut [u8]) {
        for (at, byte) in (address as usize..).zip(buffer) {
            *byte = self.0.get(at).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) {
        for (at, byte) in (address as usize..).zip(data) {
            if let Some(cell) = self.0.get_mut(at) {
                *cell = *byte;
            }
        }
    }
}

fn device() -> FwCfg {
    let mut device = FwCfg::new();
    device.add_file("etc/second", vec![4, 5]);
    device.add_file("etc/a-first", vec![1, 2, 3]);
    device
}

fn bytes(device: &mut FwCfg, key: u16, n: usize) -> Vec<u8> {
    device.port_write(0, SELECTOR, 2, key.into());
    (0..n).map(|_| device.port_read(0, DATA, 1) as u8).collect()
}

/// Runs one operation on a description at 10h and returns its status.
fn dma(device: &mut FwCfg, ram: &mut Ram, control: u32, length: u32, address: u64) -> u32 {
    ram.write(0x10, &control.to_be_bytes());
    ram.write(0x14, &length.to_be_bytes());
    ram.write(0x18, &address.to_be_bytes());
    device.port_write(0, DMA_ADDRESS, 4, 0);
    assert!(!device.dma_pending());
    device.port_write(0, DMA_ADDRESS + 4, 4, 0x10_u32.swap_bytes());
    assert!(device.dma_pending());
    device.run_dma(ram);
    assert!(!device.dma_pending());
    u32::from_be_bytes(ram.0[0x10..0x14].try_into().unwrap())
}

#[test]
fn items_are_read_byte_by_byte_and_end_in_zeros() {
    let mut d = device();
    assert_eq!(bytes(&mut d, key::SIGNATURE, 6), b"QEMU\0\0");
    assert_eq!(bytes(&mut d, key::ID, 4), [3, 0, 0, 0]);
    assert_eq!(bytes(&mut d, 0x1234, 2), [0, 0]);
    assert_eq!(bytes(&mut d, key::ID | WRITE_CHANNEL, 1), [3]);
    assert_eq!((d.port_read(0, DMA_ADDRESS, 4), d.port_read(0, DMA_ADDRESS + 7, 1)), (0x554D_4551, b'G'.into()));
}

#[test]
fn files_are_in_the_directory_by_name() {
    let mut d = device();
    let directory = bytes(&mut d, key::FILE_DIR, 4 + 2 * 64);
    assert_eq!(&directory[..12], [0, 0, 0, 2, 0, 0, 0, 3, 0, 0x20, 0, 0]);
    assert_eq!(&directory[12..24], b"etc/a-first\0");
    assert_eq!(&directory[68..76], [0, 0, 0, 2, 0, 0x21, 0, 0]);
    assert_eq!(bytes(&mut d, 0x20, 4), [1, 2, 3, 0]);
    assert_eq!(bytes(&mut d, 0x21, 2), [4, 5]);
}

#[test]
fn dma_selects_skips_and_reads() {
    let (mut d, mut ram) = (device(), Ram(vec![0xAA; 0x100]));
    let select = 0x20 << 16 | dma_control::SELECT;
    assert_eq!(dma(&mut d, &mut ram, select | dma_control::SKIP, 1, 0), 0);
    assert_eq!(dma(&mut d, &mut ram, dma_control::READ, 4, 0x40), 0);
    assert_eq!(ram.0[0x40..0x45], [2, 3, 0, 0, 0xAA]);
    assert_eq!(dma(&mut d, &mut ram, select | dma_control::READ, 2, 0x50), 0);
    assert_eq!(ram.0[0x50..0x53], [1, 2, 0xAA]);
    // Bytes and DMA share the offset.
    assert_eq!(d.port_read(0, DATA, 1), 3);
}

#[test]
fn what_the_device_does_not_do_fails() {
    let (mut d, mut ram) = (device(), Ram(vec![0; 0x100]));
    let select = 0x20 << 16 | dma_control::SELECT;
    assert_eq!(dma(&mut d, &mut ram, select | dma_control::WRITE, 1, 0x40), dma_control::ERROR);
    assert_eq!(dma(&mut d, &mut ram, select | dma_control::READ, u32::MAX, 0x40), dma_control::ERROR);
    assert_eq!(dma(&mut d, &mut ram, select | dma_control::SKIP, u32::MAX, 0x40), 0);
    assert_eq!(dma(&mut d, &mut ram, dma_control::READ, 1, 1 << 40), 0);
    d.reset();
    assert_eq!(d.port_read(0, DATA, 1), b'Q'.into());
}

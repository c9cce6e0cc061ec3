//! The bus master.

use super::*;

#[test]
fn all_of_a_wide_bus_master_base_can_be_written() {
    let irqs = [0, 1].map(|_| IrqLine::unconnected());
    for (mut ide, all) in
        [(IdeController::new(irqs.clone()), 0xFFF1), (IdeController::new(irqs).with_wide_base(), 0xFFFF_FFF1)]
    {
        ide.config_write(0x20, 4, u32::MAX);
        assert_eq!(ide.config_read(0x20, 4), all);
        ide.reset();
        ide.config_write(0x04, 2, 1);
        ide.config_write(0x20, 4, 0x1_C000);
        // Ports above 64 KiB do not exist.
        let place = if all > 0xFFFF { None } else { Some(0xC000) };
        assert_eq!(ide.bus_master_base(), place);
    }
}

#[test]
fn bus_master_dma_follows_the_descriptors() {
    let mut b = Bench::new();
    b.ide.config_write(0x20, 4, 0xC000);
    assert_eq!((b.ide.config_read(0x20, 4), b.ide.bus_master_base()), (0xC001, Some(0xC000)));
    let mut memory = Memory(vec![0; 0x1_0000]);
    // Two regions of 768 and 256 bytes.
    let mut table = Vec::new();
    for (address, control) in [(0x3000u32, 768u32), (0x5000, 256 | 1 << 31)] {
        table.extend(address.to_le_bytes());
        table.extend(control.to_le_bytes());
    }
    memory.write(0x1000, &table);
    b.ide.port_write(0, 0xC004, 4, 0x1000);
    b.lba(0xC8, 300, 2);
    assert!(!b.ide.dma_pending());
    b.out(0xC000, 0x09);
    assert_eq!((b.inb(0xC002) & 7, b.ide.dma_pending(), b.irq()), (1, true, false));
    b.ide.run_dma(&mut memory);
    assert!(b.irq());
    assert_eq!(b.inb(0xC002) & 7, 4);
    assert_eq!((b.inb(0x1F7), Bench::number(&memory.0[0x3000..])), (0x50, 300));
    assert_eq!((Bench::number(&memory.0[0x3200..]), memory.0[0x50FF]), (301, 301u32 as u8));
    b.out(0xC002, 0x64);
    assert_eq!(b.inb(0xC002), 0x60);
    // The other way.
    memory.0[0x3000] = 0x77;
    b.out(0xC000, 0x00);
    b.out(0xC000, 0x01);
    b.lba48(0x35, 600, 2);
    b.ide.run_dma(&mut memory);
    assert_eq!((b.inb(0x1F7), b.bytes.lock().unwrap()[600 * 512]), (0x50, 0x77));
    // A table too short stops the engine, not the device.
    b.out(0xC000, 0x00);
    b.lba(0xC8, 0, 9);
    b.out(0xC000, 0x09);
    b.ide.run_dma(&mut memory);
    assert_eq!((b.inb(0xC002) & 1, b.inb(0x3F6) & 8), (0, 8));
}

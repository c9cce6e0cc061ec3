//! What VNC, web viewers and the window share: the machine's thread publishes pictures and serial output and takes
//! input; each viewer has threads of its own. Nothing here grows with what a viewer sends or fails to read.

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::scheduler::Waker;
use ring86_devices::i8042::{Buttons, KeyCode};
use ring86_devices::vga::Frame;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two pictures.
const INTERVAL: Duration = Duration::from_millis(33);
/// Viewers at once.
const VIEWERS: usize = 8;
/// Input that waits for the machine.
const WAITING: usize = 256;
/// Serial output kept for viewers that come later.
const SERIAL_KEPT: usize = 64 << 10;
/// A viewer that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something a viewer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key went down or up.
    Key(KeyCode, bool),
    /// The mouse moved right and away from the user, its wheel towards the user.
    Mouse { right: i32, away: i32, wheel: i32, buttons: Buttons },
    /// The reset button.
    Reset,
    /// Guest time stops or goes on.
    Pause(bool),
    /// Bytes for COM1.
    Serial(Vec<u8>),
    /// The user wants to leave.
    Leave,
}

/// What is shown at present.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Moves with every change.
    pub number: u64,
    /// The picture.
    pub frame: Arc<Frame>,
    /// Width and height of the screen it fills.
    pub aspect: (usize, usize),
    /// Guest time stands still.
    pub paused: bool,
    /// The last bytes from COM1, and how many there were altogether.
    pub serial: Arc<Vec<u8>>,
    /// See `serial`.
    pub serial_end: u64,
}

/// The viewers' side.
pub struct Hub {
    shown: Mutex<Shown>,
    changed: Condvar,
    input: SyncSender<Input>,
    viewers: AtomicUsize,
    waker: Waker,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes input on; waits while the machine has too much of it. False if the machine is gone.
    pub fn send(&self, input: Input) -> bool {
        let sent = self.input.send(input).is_ok();
        self.waker.wake();
        sent
    }

    /// What is shown, as soon as `wanted` says yes to it, or after a second.
    pub fn wait(&self, mut wanted: impl FnMut(&Shown) -> bool) -> Shown {
        let guard = self.lock();
        let waited = self.changed.wait_timeout_while(guard, Duration::from_secs(1), |shown| !wanted(shown));
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Lets all that wait look again.
    pub fn notify(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }
}

/// Counts a viewer for as long as it is there.
struct Viewer(Arc<Hub>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The machine's side.
pub struct Remote {
    hub: Arc<Hub>,
    input: Receiver<Input>,
    next: Instant,
    serial_seen: u64,
}

impl Remote {
    /// Without viewers.
    fn new(waker: Waker) -> Self {
        let (sender, input) = sync_channel(WAITING);
        let shown = Shown {
            number: 0,
            frame: Arc::new(Frame { width: 0, height: 0, rgb: Vec::new() }),
            aspect: (4, 3),
            paused: false,
            serial: Arc::default(),
            serial_end: 0,
        };
        let hub = Arc::new(Hub {
            shown: Mutex::new(shown),
            changed: Condvar::new(),
            input: sender,
            viewers: AtomicUsize::new(0),
            waker,
        });
        Remote { hub, input, next: Instant::now(), serial_seen: 0 }
    }

    /// For one viewer, in this process.
    #[cfg(all(feature = "window", target_os = "linux"))]
    pub fn local(waker: Waker) -> (Self, Arc<Hub>) {
        let remote = Remote::new(waker);
        remote.hub.viewers.store(1, Ordering::Release);
        let hub = Arc::clone(&remote.hub);
        (remote, hub)
    }

    /// Listens at `address` and gives each connection to `viewer` on a thread of its own. `what` names the server to
    /// the user. Returns the address with the port that was taken.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn listen(
        what: &str,
        address: SocketAddr,
        waker: Waker,
        viewer: impl Fn(TcpStream, &Hub) + Send + Sync + 'static,
    ) -> Result<(Self, SocketAddr)> {
        let refused = |e: std::io::Error| Error::new(format!("--display {what}: cannot listen at {address}: {e}"));
        let listener = TcpListener::bind(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let remote = Remote::new(waker);
        let (shared, viewer) = (Arc::clone(&remote.hub), Arc::new(viewer));
        std::thread::spawn(move || {
            loop {
                let Ok((stream, _)) = listener.accept() else {
                    // Out of descriptors, say: the next attempt may succeed.
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                };
                let guard = Viewer(Arc::clone(&shared));
                if shared.viewers.fetch_add(1, Ordering::AcqRel) >= VIEWERS {
                    continue;
                }
                let ready = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
                if ready.is_err() {
                    continue;
                }
                let viewer = Arc::clone(&viewer);
                let spawned = std::thread::Builder::new().spawn(move || viewer(stream, &guard.0));
                if let Err(error) = spawned {
                    log::warn!("no thread for a viewer: {error}");
                }
            }
        });
        Ok((remote, address))
    }

    /// Takes input and publishes what changed. True if the user wants to leave.
    pub fn pump(&mut self, machine: &mut Machine) -> bool {
        let mut leave = false;
        while machine.key_room()
            && let Ok(input) = self.input.try_recv()
        {
            match input {
                Input::Key(key, pressed) => machine.key(key, pressed),
                Input::Mouse { right, away, wheel, buttons } => machine.move_mouse(right, away, wheel, buttons),
                Input::Reset => machine.reset(),
                Input::Pause(paused) => {
                    machine.pause(paused);
                    self.next = Instant::now();
                }
                Input::Serial(bytes) => {
                    machine.serial_input(&bytes);
                }
                Input::Leave => leave = true,
            }
        }
        if self.hub.viewers.load(Ordering::Acquire) == 0 || Instant::now() < self.next {
            return leave;
        }
        self.next = Instant::now() + INTERVAL;
        let frame = machine.frame();
        let aspect = if machine.has_square_pixels() { (frame.width, frame.height) } else { (4, 3) };
        let (position, new) = machine.serial_from(self.serial_seen);
        let new_end = position + new.len() as u64;
        let mut shown = self.hub.lock();
        let same = *shown.frame == frame && shown.paused == machine.is_paused() && shown.serial_end == new_end;
        if same && shown.number > 0 {
            return leave;
        }
        if *shown.frame != frame {
            shown.frame = Arc::new(frame);
        }
        if shown.serial_end != new_end {
            let mut serial = shown.serial.to_vec();
            serial.extend_from_slice(new);
            let surplus = serial.len().saturating_sub(SERIAL_KEPT);
            serial.drain(..surplus);
            shown.serial = Arc::new(serial);
            shown.serial_end = new_end;
            self.serial_seen = new_end;
        }
        (shown.aspect, shown.paused) = (aspect, machine.is_paused());
        shown.number += 1;
        drop(shown);
        self.hub.changed.notify_all();
        leave
    }
}

/// Edge of the squares in which two pictures are compared.
const TILE: usize = 64;

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width, never zero.
    pub width: usize,
    /// Height, never zero.
    pub height: usize,
}

impl Rect {
    /// All of a picture.
    pub fn whole(frame: &Frame) -> Self {
        Rect { x: 0, y: 0, width: frame.width, height: frame.height }
    }

    /// The pixels of this part, which must lie inside the picture, by rows.
    pub fn rows<'a>(&self, frame: &'a Frame) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Rect { x, y, width, height } = *self;
        let rows = frame.rgb.chunks_exact(frame.width.max(1) * 3).skip(y).take(height);
        rows.map(move |row| &row[x * 3..(x + width) * 3])
    }
}

/// Where `new` differs from `old`, in strips of tiles; all of it if they are not of one size.
pub fn differences(old: &Frame, new: &Frame) -> Vec<Rect> {
    if new.width == 0 || new.height == 0 {
        return Vec::new();
    }
    if (old.width, old.height) != (new.width, new.height) {
        return vec![Rect::whole(new)];
    }
    let mut rects: Vec<Rect> = Vec::new();
    for y in (0..new.height).step_by(TILE) {
        for x in (0..new.width).step_by(TILE) {
            let tile = Rect { x, y, width: TILE.min(new.width - x), height: TILE.min(new.height - y) };
            if tile.rows(old).eq(tile.rows(new)) {
                continue;
            }
            match rects.last_mut() {
                Some(last) if last.y == y && last.x + last.width == x => last.width += tile.width,
                _ => rects.push(tile),
            }
        }
    }
    rects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_in_strips() {
        let old = Frame { width: 200, height: 100, rgb: vec![0; 200 * 100 * 3] };
        let mut new = old.clone();
        assert_eq!(differences(&old, &new), []);
        for (x, y) in [(0, 0), (70, 3), (199, 99)] {
            new.rgb[(y * 200 + x) * 3 + 1] = 1;
        }
        let expected = [Rect { x: 0, y: 0, width: 128, height: 64 }, Rect { x: 192, y: 64, width: 8, height: 36 }];
        assert_eq!(differences(&old, &new), expected);
        assert_eq!(expected[1].rows(&new).flatten().filter(|byte| **byte != 0).count(), 1);
        let other = Frame { width: 8, height: 1, rgb: vec![0; 24] };
        assert_eq!(differences(&old, &other), [Rect::whole(&other)]);
        assert_eq!(differences(&old, &Frame { width: 0, height: 0, rgb: Vec::new() }), []);
    }
}

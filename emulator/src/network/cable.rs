//! The cable between the card and the network: a queue of frames in each direction.

use ring86_devices::net::{HEADER, MAX_FRAME, NetPort};
use ring86_translator::Pins;
use ring86_translator::pins::EXIT;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Frames that wait in one direction at most; what comes on top is lost, as on a busy network.
const QUEUE: usize = 256;

#[derive(Debug, Default)]
struct Queues {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: VecDeque<Vec<u8>>,
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network's end.
#[derive(Debug)]
pub struct Cable {
    queues: Arc<Mutex<Queues>>,
    pins: Arc<Pins>,
}

/// The card's end. A frame sent ends the CPU's slice, so that answers do not wait for its end.
#[derive(Clone, Debug)]
pub struct CardEnd {
    queues: Arc<Mutex<Queues>>,
    pins: Arc<Pins>,
}

impl Cable {
    pub(super) fn new(pins: Arc<Pins>) -> Self {
        Cable { queues: Arc::default(), pins }
    }

    pub(super) fn card_end(&self) -> CardEnd {
        CardEnd { queues: Arc::clone(&self.queues), pins: Arc::clone(&self.pins) }
    }

    /// Whether the guest sent nothing.
    pub(super) fn is_quiet(&self) -> bool {
        lock(&self.queues).from_guest.is_empty()
    }

    /// Takes the guest's next frame.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        lock(&self.queues).from_guest.pop_front()
    }

    /// Frames that still find room on their way to the guest.
    pub(super) fn room(&self) -> usize {
        QUEUE.saturating_sub(lock(&self.queues).to_guest.len())
    }

    /// Whether a frame from the guest may be answered. Some room is kept, since one frame can have several answers.
    pub(super) fn has_room(&self) -> bool {
        self.room() > QUEUE / 4
    }

    /// Puts a frame on its way to the guest.
    pub(super) fn give(&self, frame: Vec<u8>) {
        let mut queues = lock(&self.queues);
        if queues.to_guest.len() < QUEUE && (HEADER..=MAX_FRAME).contains(&frame.len()) {
            queues.to_guest.push_back(frame);
        }
    }
}

impl NetPort for CardEnd {
    fn send(&mut self, frame: &[u8]) {
        let mut queues = lock(&self.queues);
        if queues.from_guest.len() < QUEUE {
            queues.from_guest.push_back(frame.to_vec());
        }
        self.pins.raise(EXIT);
    }

    fn waiting(&self) -> Option<usize> {
        lock(&self.queues).to_guest.front().map(Vec::len)
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        lock(&self.queues).to_guest.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_bounded() {
        let pins = Arc::new(Pins::default());
        let cable = Cable::new(Arc::clone(&pins));
        let mut card = cable.card_end();
        for _ in 0..10 * QUEUE {
            card.send(&[0; 60]);
            cable.give(vec![0; 60]);
        }
        assert_ne!(pins.get() & EXIT, 0);
        assert_eq!(std::iter::from_fn(|| cable.take()).count(), QUEUE);
        assert_eq!((cable.room(), card.waiting()), (0, Some(60)));
        assert_eq!(std::iter::from_fn(|| card.poll()).count(), QUEUE);
        cable.give(vec![0; MAX_FRAME + 1]);
        assert_eq!((card.waiting(), cable.is_quiet(), cable.has_room()), (None, true, true));
    }
}

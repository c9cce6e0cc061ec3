//! The compiler's thread: plans go in, hottest first, machine code comes out.

use crate::block::Id;
use crate::lower::compile::{Code, Compiler, Effort};
use crate::region::Plan;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Plans that wait at most: what comes later is asked for again if it stays hot.
const WAITING: usize = 256;

/// A plan and what came of it.
pub(super) struct Finished {
    pub plan: Plan,
    pub effort: Effort,
    pub code: Result<Code, String>,
}

/// What became of a plan.
pub(super) enum Submitted {
    /// There is no thread: here is the code.
    Finished(Box<Finished>),
    /// It will be compiled; the blocks that its region can be entered at.
    Waiting(Vec<(Id, u64)>),
    /// Too much waits already.
    Refused,
}

struct Job {
    hot: u32,
    plan: Plan,
    effort: Effort,
}

/// What waits, in the order of arrival; short enough to be searched.
#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    ready: AtomicBool,
    waiting: AtomicUsize,
}

/// The thread's handle, or the compiler itself when everything happens on the caller's thread.
pub(super) struct Worker {
    here: Option<Box<Compiler>>,
    shared: Arc<Shared>,
    finished: Option<Receiver<Finished>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, unless all is to happen on the caller's.
    ///
    /// # Errors
    /// If the host has no thread for it: nothing would ever be compiled.
    pub fn new(mut compiler: Compiler, synchronous: bool) -> Result<Worker, String> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            ready: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        });
        let mut w = Worker { here: None, shared: Arc::clone(&shared), finished: None, thread: None };
        if synchronous {
            w.here = Some(Box::new(compiler));
            return Ok(w);
        }
        let (send, receive) = mpsc::channel();
        w.finished = Some(receive);
        let thread = std::thread::Builder::new()
            .name("ring86-compiler".into())
            .spawn(move || {
                while let Some(mut job) = next(&shared) {
                    let code = compiler.compile(&mut job.plan, job.effort);
                    if send.send(Finished { plan: job.plan, effort: job.effort, code }).is_err() {
                        return;
                    }
                    shared.ready.store(true, Ordering::Release);
                }
            })
            .map_err(|e| format!("the host has no thread for the compiler: {e}"))?;
        w.thread = Some(thread);
        Ok(w)
    }

    /// Hands a plan over. Comes back with the code at once if there is no thread.
    pub fn submit(&mut self, hot: u32, mut plan: Plan, effort: Effort) -> Submitted {
        if let Some(compiler) = &mut self.here {
            let code = compiler.compile(&mut plan, effort);
            return Submitted::Finished(Box::new(Finished { plan, effort, code }));
        }
        if self.shared.waiting.load(Ordering::Relaxed) >= WAITING {
            return Submitted::Refused;
        }
        let entries = plan.entries().collect();
        let job = Job { hot, plan, effort };
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.push(job);
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.wake.notify_one();
        Submitted::Waiting(entries)
    }

    /// An entry of a plan that waits has become hotter.
    pub fn hotter(&mut self, anchor: (Id, u64), hot: u32) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = queue.jobs.iter_mut().find(|j| j.plan.ids.contains(&anchor)) {
            job.hot = job.hot.max(hot);
        }
    }

    /// Something has been finished.
    #[inline]
    pub fn ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed)
    }

    /// Takes what has been finished.
    pub fn take(&mut self) -> Option<Finished> {
        self.shared.ready.store(false, Ordering::Relaxed);
        let f = self.finished.as_ref()?.try_recv().ok()?;
        self.shared.ready.store(true, Ordering::Relaxed);
        Some(f)
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if queue.closed {
            return None;
        }
        // The hottest; of equals the one that came first.
        let best = (0..queue.jobs.len()).rev().max_by_key(|i| queue.jobs[*i].hot);
        if let Some(job) = best.map(|i| queue.jobs.remove(i)) {
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return Some(job);
        }
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
        if let Some(t) = self.thread.take() {
            // A compiler that panicked has said so already.
            let _ = t.join();
        }
    }
}

//! `--control`: the commands over a Unix socket that only this user can reach.
//!
//! A client sends one command a line. The answer is any number of lines that begin with `| `, then one that begins with
//! `ok`, `timeout` or `error`. A client's commands are carried out in order; several clients do not wait for each other.

use super::command;
use super::executor::{Executor, Failure, Progress};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::scheduler::Waker;
use crate::session::code;
use crate::storage::Access;
use ring86_devices::Time;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Clients at one time.
const MAX_CLIENTS: usize = 16;
/// How long the end of a run waits at most for clients' last answers to be written, on a host that stands still.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Longest command line, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// What a client's thread tells the machine's.
enum Request {
    /// A command, and where its answer goes.
    Line(u64, String, Sender<String>),
    /// The client is gone.
    Gone(u64),
}

/// A client as the machine's thread knows it.
#[derive(Debug)]
struct Client {
    executor: Executor,
    /// Where the answer to the command under way goes.
    answer: Option<Sender<String>>,
}

/// The control socket of one machine.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    access: Access,
    requests: Receiver<Request>,
    clients: HashMap<u64, Client>,
    /// Commands whose answers the clients' threads have not passed on yet.
    unanswered: Arc<AtomicUsize>,
}

/// The socket's path for a name: a bare one lies in a folder of this user's own.
pub fn socket_path(name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("ring86"),
        _ => std::env::temp_dir().join(format!("ring86-{}", nix::unistd::geteuid())),
    };
    folder.join(format!("{name}.sock"))
}

/// Makes the socket's folder, or checks that nobody else can enter it.
fn prepare_folder(socket: &Path) -> Result<()> {
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io("create the folder", folder, &e)),
    }
    let meta = std::fs::symlink_metadata(folder).map_err(|e| Error::io("read", folder, &e))?;
    let own = meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o077 == 0;
    if own {
        return Ok(());
    }
    Err(Error::new(format!(
        "--control '{}': others can enter the folder '{}'; give a bare name, or a folder of your own with mode 0700",
        socket.display(),
        folder.display()
    )))
}

impl Control {
    /// Listens at `name` (see [`socket_path`]) for the machine that `waker` wakes.
    ///
    /// # Errors
    /// One sentence if the host refuses, the folder is open to others, or another machine listens there.
    pub fn open(name: &str, waker: Waker, access: Access) -> Result<Self> {
        let path = socket_path(name);
        prepare_folder(&path)?;
        if let Ok(meta) = std::fs::symlink_metadata(&path) {
            if !meta.file_type().is_socket() {
                return Err(Error::new(format!("--control '{}': there is a file of that name", path.display())));
            }
            if UnixStream::connect(&path).is_ok() {
                return Err(Error::new(format!("--control '{}': another machine listens there", path.display())));
            }
            // Left behind by a machine that was killed.
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        let listener = UnixListener::bind(&path).map_err(|e| Error::io("listen at", &path, &e))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(|e| Error::io("protect", &path, &e))?;
        // A full queue makes clients wait.
        let (sender, requests) = sync_channel(MAX_CLIENTS);
        let unanswered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&unanswered);
        std::thread::spawn(move || accept(&listener, &sender, &waker, &counter));
        Ok(Control { path, access, requests, clients: HashMap::new(), unanswered })
    }

    /// When a command wants attention next.
    pub fn next(&self) -> Option<Time> {
        self.clients.values().filter_map(|client| client.executor.next()).min()
    }

    /// Carries out what clients want and time allows. Returns the exit code if the run is to end.
    pub fn pump(&mut self, machine: &mut Machine) -> Option<u8> {
        let mut end = None;
        for client in self.clients.values_mut().filter(|client| client.answer.is_some()) {
            let step = client.executor.poll(machine);
            end = end.or(client.report(step));
        }
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Gone(id) => {
                    self.clients.remove(&id);
                }
                Request::Line(id, line, answer) => {
                    let access = &self.access;
                    let new = || Client { executor: Executor::new(access.clone()), answer: None };
                    let client = self.clients.entry(id).or_insert_with(new);
                    client.answer = Some(answer);
                    let step = match command::parse(&line) {
                        Ok(Some(command)) => client.executor.start(machine, &command),
                        Ok(None) => Ok(Progress::Done(String::new())),
                        Err(why) => Err(Failure::Refused(why)),
                    };
                    end = end.or(client.report(step));
                }
            }
        }
        end
    }

    /// The machine ended: everyone who waits is told.
    pub fn ended(&mut self, exit: u8) {
        for client in self.clients.values_mut() {
            let expected = client.executor.expected_exit() == Some(exit) || client.executor.keys_are_pressed();
            client.say(&if expected {
                "ok\n".to_owned()
            } else {
                format!("error the machine ended with exit code {exit}\n")
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that stays behind is replaced by the next machine of that name.
        drop(std::fs::remove_file(&self.path));
        // The last answers get their chance, but nobody keeps the process from ending.
        self.clients.clear();
        while self.requests.try_recv().is_ok() {}
        let since = Instant::now();
        while self.unanswered.load(Ordering::Acquire) > 0 && since.elapsed() < LAST_ANSWERS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Client {
    fn say(&mut self, text: &str) {
        if let Some(answer) = self.answer.take() {
            // A client that is gone hears nothing.
            drop(answer.send(text.to_owned()));
        }
    }

    /// Answers a command that is over. Returns the exit code if it ends the run.
    fn report(&mut self, step: std::result::Result<Progress, Failure>) -> Option<u8> {
        let one_line = |why: &str| why.replace('\n', " ");
        match step {
            Ok(Progress::Waiting) => return None,
            Ok(Progress::Done(text)) => {
                let lines: String = text.lines().map(|line| format!("| {line}\n")).collect();
                self.say(&format!("{lines}ok\n"));
            }
            Ok(Progress::Quit) => {
                self.say("ok\n");
                return Some(code::OFF);
            }
            Err(Failure::Timeout(why)) => self.say(&format!("timeout {}\n", one_line(&why))),
            Err(Failure::Refused(why)) => self.say(&format!("error {}\n", one_line(&why))),
        }
        None
    }
}

/// Takes clients, each on a thread of its own.
fn accept(listener: &UnixListener, sender: &SyncSender<Request>, waker: &Waker, unanswered: &Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    for (id, stream) in (0..).zip(listener.incoming()) {
        let Ok(mut stream) = stream else { continue };
        if count.fetch_add(1, Ordering::AcqRel) >= MAX_CLIENTS {
            count.fetch_sub(1, Ordering::AcqRel);
            drop(stream.write_all(b"error too many clients at one time\n"));
            continue;
        }
        let (sender, waker) = (sender.clone(), waker.clone());
        let (count, unanswered) = (Arc::clone(&count), Arc::clone(unanswered));
        std::thread::spawn(move || {
            // Why a client left does not matter.
            drop(serve(id, &stream, &sender, &waker, &unanswered));
            count.fetch_sub(1, Ordering::AcqRel);
            if sender.send(Request::Gone(id)).is_ok() {
                waker.wake();
            }
        });
    }
}

/// Passes one client's lines on and the answers back.
fn serve(
    id: u64,
    stream: &UnixStream,
    sender: &SyncSender<Request>,
    waker: &Waker,
    unanswered: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let mut writer = stream;
        if line.len() as u64 == MAX_LINE {
            return writer.write_all(b"error the line is too long\n");
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let (answer, answers) = channel();
        unanswered.fetch_add(1, Ordering::AcqRel);
        let sent = sender.send(Request::Line(id, line, answer)).is_ok();
        waker.wake();
        let answer = answers.recv().ok().filter(|_| sent);
        let written = answer.as_ref().map(|answer| writer.write_all(answer.as_bytes()));
        unanswered.fetch_sub(1, Ordering::AcqRel);
        match written {
            Some(result) => result?,
            None => return Ok(()),
        }
    }
}

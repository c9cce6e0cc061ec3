//! `--display terminal`: the guest's text screen in the host's terminal, and the terminal's keys on the guest's keyboard.

use crate::error::{Error, Result};
use crate::keys;
use crate::logging::Held;
use crate::machine::Machine;
use crate::scheduler::Waker;
use crate::terminal::RawMode;
use crossterm::event::{Event, KeyCode as HostKey, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetBackgroundColor, SetForegroundColor};
use crossterm::{cursor, event, queue, terminal};
use ring86_devices::i8042::KeyCode;
use ring86_devices::vga::{Frame, TextScreen};
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Time between two looks at the guest's screen.
const FRAME: Duration = Duration::from_millis(30);
/// The same in graphics modes, where only the picture's size is told.
const FRAME_GRAPHICS: Duration = Duration::from_millis(500);

/// VGA colours in the order of the attribute byte, as the terminal's 16 colours.
const COLORS: [Color; 16] = [
    Color::Black,
    Color::DarkBlue,
    Color::DarkGreen,
    Color::DarkCyan,
    Color::DarkRed,
    Color::DarkMagenta,
    Color::DarkYellow,
    Color::Grey,
    Color::DarkGrey,
    Color::Blue,
    Color::Green,
    Color::Cyan,
    Color::Red,
    Color::Magenta,
    Color::Yellow,
    Color::White,
];

/// The part of the screen that the terminal has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    columns: usize,
    rows: usize,
    /// The screen's column and row in the terminal's upper left corner.
    left: usize,
    top: usize,
}

impl View {
    /// The upper left part, in a terminal of this size. One that does not say how large it is has room for anything.
    fn new((columns, rows): (u16, u16)) -> Self {
        let room = |n: u16| if n == 0 { usize::MAX } else { usize::from(n) };
        View { columns: room(columns), rows: room(rows), left: 0, top: 0 }
    }

    /// Moves as little as shows the cursor, and no further than the screen goes.
    fn follow(&mut self, screen: &TextScreen) {
        let (row, column) = screen.cursor.map_or((None, None), |(row, column)| (Some(row), Some(column)));
        self.top = scrolled(self.top, self.rows, screen.rows.len(), row);
        self.left = scrolled(self.left, self.columns, screen.attributes.first().map_or(0, Vec::len), column);
    }
}

/// Where `room` places of `all` begin, if they began at `start` and `wanted` is to be among them.
fn scrolled(start: usize, room: usize, all: usize, wanted: Option<usize>) -> usize {
    let last = all.saturating_sub(room);
    let start = start.min(last);
    match wanted {
        Some(wanted) if wanted < start => wanted,
        Some(wanted) if wanted - start >= room => (wanted + 1 - room).min(last),
        _ => start,
    }
}

/// What the terminal shows.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// Not what it should.
    Nothing,
    Text(TextScreen),
    /// A line in place of a picture.
    Notice(String),
}

/// The terminal as display and keyboard.
pub struct TerminalDisplay {
    out: Stdout,
    events: Receiver<Event>,
    shown: Shown,
    view: View,
    next: Instant,
    escape: bool,
    _raw: RawMode,
    /// After the terminal is as it was: then it has room for lines of ours.
    _held: Held,
}

impl TerminalDisplay {
    /// Whether there is a terminal to take.
    ///
    /// # Errors
    /// If standard input or output is not a terminal.
    pub fn check() -> Result<()> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Ok(());
        }
        Err(Error::new("--display terminal needs a terminal as standard input and output"))
    }

    /// Takes the terminal over until dropped.
    ///
    /// # Errors
    /// If standard input or output is not a terminal.
    pub fn open(waker: Waker) -> Result<Self> {
        Self::check()?;
        let raw = RawMode::enter()?;
        let mut out = io::stdout();
        queue!(out, terminal::EnterAlternateScreen, terminal::Clear(terminal::ClearType::All))
            .and_then(|()| out.flush())
            .map_err(|e| Error::new(format!("cannot write to the terminal: {e}")))?;
        let (sender, events) = sync_channel(64);
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if sender.send(event).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        let view = View::new(terminal::size().unwrap_or_default());
        let (shown, next) = (Shown::Nothing, Instant::now());
        Ok(TerminalDisplay { out, events, shown, view, next, escape: false, _raw: raw, _held: Held::begin() })
    }

    /// Draws what changed and passes keys on. True if the user wants to leave.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn pump(&mut self, machine: &mut Machine) -> Result<bool> {
        loop {
            match self.events.try_recv() {
                Ok(Event::Key(key)) => {
                    if self.key(machine, key) {
                        return Ok(true);
                    }
                }
                Ok(Event::Resize(columns, rows)) => {
                    self.view = View::new((columns, rows));
                    self.shown = Shown::Nothing;
                    self.next = Instant::now();
                }
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Error::new("the terminal is gone")),
            }
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + FRAME;
            let shown = match machine.screen() {
                Some(screen) => Shown::Text(screen),
                None => {
                    self.next += FRAME_GRAPHICS;
                    Shown::Notice(notice(&machine.frame()))
                }
            };
            if shown != self.shown {
                let drawn = match &shown {
                    Shown::Text(screen) => self.draw(screen),
                    Shown::Notice(line) => self.draw_notice(line),
                    Shown::Nothing => Ok(()),
                };
                drawn.map_err(|e| Error::new(format!("cannot write to the terminal: {e}")))?;
                self.shown = shown;
            }
        }
        Ok(false)
    }

    fn draw_notice(&mut self, line: &str) -> io::Result<()> {
        let line: String = line.chars().take(self.view.columns).collect();
        queue!(self.out, SetAttribute(Attribute::Reset), terminal::Clear(terminal::ClearType::All), cursor::Hide)?;
        queue!(self.out, cursor::MoveTo(0, 0), Print(line))?;
        self.out.flush()
    }

    fn draw(&mut self, screen: &TextScreen) -> io::Result<()> {
        let shape = |s: &TextScreen| (s.rows.len(), s.attributes.first().map_or(0, Vec::len));
        let before = self.view;
        self.view.follow(screen);
        let View { columns, rows, left, top } = self.view;
        let shown = match &self.shown {
            Shown::Text(shown) if shape(shown) == shape(screen) && self.view == before => Some(shown),
            _ => None,
        };
        if shown.is_none() {
            queue!(self.out, SetAttribute(Attribute::Reset), terminal::Clear(terminal::ClearType::All))?;
        }
        let mut at = None;
        let mut colors = None;
        for (y, (row, attributes)) in screen.rows.iter().zip(&screen.attributes).enumerate().skip(top).take(rows) {
            let mut old = shown.map(|s| (s.rows[y].chars(), &s.attributes[y]));
            for (x, (glyph, attribute)) in row.chars().zip(attributes).enumerate() {
                let before = old.as_mut().and_then(|(row, attributes)| Some((row.next()?, attributes.get(x)?)));
                let is_seen = x >= left && x - left < columns;
                if !is_seen || before == Some((glyph, attribute)) {
                    continue;
                }
                if at != Some((x, y)) {
                    queue!(self.out, cursor::MoveTo((x - left) as u16, (y - top) as u16))?;
                }
                if colors != Some(attribute) {
                    let (foreground, background) = (attribute & 15, attribute >> 4);
                    queue!(
                        self.out,
                        SetForegroundColor(COLORS[usize::from(foreground)]),
                        SetBackgroundColor(COLORS[usize::from(background)])
                    )?;
                    colors = Some(attribute);
                }
                queue!(self.out, Print(glyph))?;
                at = Some((x + 1, y));
            }
        }
        match screen.cursor {
            Some((y, x)) => queue!(self.out, cursor::MoveTo((x - left) as u16, (y - top) as u16), cursor::Show)?,
            None => queue!(self.out, cursor::Hide)?,
        }
        self.out.flush()
    }

    /// Passes a key to the guest. True if it was the X of Ctrl-A X.
    fn key(&mut self, machine: &mut Machine, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_escape = control && key.code == HostKey::Char('a');
        if std::mem::take(&mut self.escape) {
            if matches!(key.code, HostKey::Char('x' | 'X')) {
                return true;
            }
            if !is_escape {
                return false;
            }
        } else if is_escape {
            self.escape = true;
            return false;
        }
        for (code, pressed) in guest_keys(key) {
            machine.key(code, pressed);
        }
        false
    }
}

impl Drop for TerminalDisplay {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        drop(queue!(self.out, SetAttribute(Attribute::Reset), cursor::Show, terminal::LeaveAlternateScreen));
        drop(self.out.flush());
    }
}

/// What is said in place of a picture.
fn notice(frame: &Frame) -> String {
    if frame.width == 0 || frame.height == 0 {
        return "the guest's screen is off".to_owned();
    }
    format!("{}x{} graphics: see it with --display web or vnc", frame.width, frame.height)
}

/// The guest's key events for a host key; nothing for keys that a PC's keyboard does not have.
fn guest_keys(key: KeyEvent) -> Vec<(KeyCode, bool)> {
    let mut modifiers = Vec::new();
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        modifiers.push(KeyCode::ControlLeft);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        modifiers.push(KeyCode::AltLeft);
    }
    let code = match key.code {
        HostKey::Char(c) => {
            let Some(strokes) = keys::strokes(c) else { return Vec::new() };
            let mut events: Vec<_> = modifiers.iter().map(|m| (*m, true)).collect();
            events.extend(strokes);
            events.extend(modifiers.iter().rev().map(|m| (*m, false)));
            return events;
        }
        HostKey::Enter => KeyCode::Enter,
        HostKey::Tab => KeyCode::Tab,
        HostKey::BackTab => {
            modifiers.push(KeyCode::ShiftLeft);
            KeyCode::Tab
        }
        HostKey::Backspace => KeyCode::Backspace,
        HostKey::Esc => KeyCode::Escape,
        HostKey::Left => KeyCode::ArrowLeft,
        HostKey::Right => KeyCode::ArrowRight,
        HostKey::Up => KeyCode::ArrowUp,
        HostKey::Down => KeyCode::ArrowDown,
        HostKey::Home => KeyCode::Home,
        HostKey::End => KeyCode::End,
        HostKey::PageUp => KeyCode::PageUp,
        HostKey::PageDown => KeyCode::PageDown,
        HostKey::Insert => KeyCode::Insert,
        HostKey::Delete => KeyCode::Delete,
        HostKey::F(n @ 1..=12) => {
            use KeyCode::{F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12};
            [F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12][usize::from(n - 1)]
        }
        _ => return Vec::new(),
    };
    keys::press(code, &modifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_follows_the_cursor() {
        for ((start, room, all, wanted), expected) in [
            ((0, 15, 25, Some(0)), 0),
            ((0, 15, 25, Some(14)), 0),
            ((0, 15, 25, Some(15)), 1),
            ((0, 15, 25, Some(24)), 10),
            ((10, 15, 25, Some(12)), 10),
            ((10, 15, 25, Some(9)), 9),
            ((10, 15, 25, None), 10),
            ((10, 40, 25, Some(24)), 0),
            ((0, usize::MAX, 25, Some(24)), 0),
            ((3, 1, 0, None), 0),
        ] {
            assert_eq!(scrolled(start, room, all, wanted), expected, "{start} {room} {all} {wanted:?}");
        }
    }

    #[test]
    fn modifiers_surround_the_key() {
        let key = |code, modifiers| guest_keys(KeyEvent::new(code, modifiers));
        use KeyCode::{AltLeft, ControlLeft, Delete, F1};
        assert_eq!(key(HostKey::F(1), KeyModifiers::NONE), [(F1, true), (F1, false)]);
        let all = KeyModifiers::CONTROL | KeyModifiers::ALT;
        let expected = [
            (ControlLeft, true),
            (AltLeft, true),
            (Delete, true),
            (Delete, false),
            (AltLeft, false),
            (ControlLeft, false),
        ];
        assert_eq!(key(HostKey::Delete, all), expected);
        assert_eq!(key(HostKey::F(13), KeyModifiers::NONE), []);
    }
}

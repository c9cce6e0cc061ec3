//! `--display terminal`: the guest's text screen in the host's terminal, and the terminal's keys on the guest's keyboard.

use crate::error::{Error, Result};
use crate::keys;
use crate::machine::Machine;
use crate::scheduler::Waker;
use crate::terminal::RawMode;
use crossterm::event::{Event, KeyCode as HostKey, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetBackgroundColor, SetForegroundColor};
use crossterm::{cursor, event, queue, terminal};
use ring86_devices::i8042::KeyCode;
use ring86_devices::vga::TextScreen;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Time between two looks at the guest's screen.
const FRAME: Duration = Duration::from_millis(30);

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

/// The terminal as display and keyboard.
pub struct TerminalDisplay {
    out: Stdout,
    events: Receiver<Event>,
    shown: Option<TextScreen>,
    next: Instant,
    escape: bool,
    _raw: RawMode,
}

impl TerminalDisplay {
    /// Takes the terminal over until dropped.
    ///
    /// # Errors
    /// If standard input or output is not a terminal.
    pub fn open(waker: Waker) -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Error::new("--display terminal needs a terminal as standard input and output"));
        }
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
        Ok(TerminalDisplay { out, events, shown: None, next: Instant::now(), escape: false, _raw: raw })
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
                Ok(Event::Resize(..)) => self.shown = None,
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Error::new("the terminal is gone")),
            }
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + FRAME;
            let screen = machine.screen();
            if screen.is_some() && screen != self.shown {
                self.draw(screen.as_ref()).map_err(|e| Error::new(format!("cannot write to the terminal: {e}")))?;
                self.shown = screen;
            }
        }
        Ok(false)
    }

    fn draw(&mut self, screen: Option<&TextScreen>) -> io::Result<()> {
        let Some(screen) = screen else { return Ok(()) };
        let shape = |s: &TextScreen| (s.rows.len(), s.attributes.first().map_or(0, Vec::len));
        let shown = self.shown.as_ref().filter(|shown| shape(shown) == shape(screen));
        if shown.is_none() {
            queue!(self.out, SetAttribute(Attribute::Reset), terminal::Clear(terminal::ClearType::All))?;
        }
        let mut at = None;
        let mut colors = None;
        for (y, (row, attributes)) in screen.rows.iter().zip(&screen.attributes).enumerate() {
            let mut old = shown.map(|s| (s.rows[y].chars(), &s.attributes[y]));
            for (x, (glyph, attribute)) in row.chars().zip(attributes).enumerate() {
                let before = old.as_mut().and_then(|(row, attributes)| Some((row.next()?, attributes.get(x)?)));
                if before == Some((glyph, attribute)) {
                    continue;
                }
                if at != Some((x, y)) {
                    queue!(self.out, cursor::MoveTo(x as u16, y as u16))?;
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
            Some((y, x)) => queue!(self.out, cursor::MoveTo(x as u16, y as u16), cursor::Show)?,
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

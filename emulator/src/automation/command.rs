//! The commands of scripts and of the control socket, one a line, with a shell's quoting.

use super::key_names;
use crate::keys;
use crate::storage::Role;
use ring86_devices::Time;
use ring86_devices::i8042::{Buttons, KeyCode};
use std::path::PathBuf;

/// A drive whose medium can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Floppy drive A (0) or B (1).
    Floppy(usize),
    /// The CD drive.
    Cd,
}

impl Drive {
    /// What images in it are opened for.
    pub fn role(self) -> Role {
        match self {
            Drive::Floppy(_) => Role::Floppy,
            Drive::Cd => Role::Cd,
        }
    }
}

/// One command. Times are nanoseconds of guest time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wait until a line of the screen contains this.
    WaitScreen(String),
    /// Wait until this came out of COM1 behind the last such match.
    WaitSerial(String),
    /// Press and release these keys, one after another; each entry is one combination.
    Keys(Vec<Vec<KeyCode>>),
    /// Move the mouse, right and down, and set its buttons.
    Mouse(i32, i32, Buttons),
    /// Write the picture as PNG.
    Screenshot(PathBuf),
    /// Print the screen's text.
    Screen,
    /// Take a medium out.
    Eject(Drive),
    /// Put a medium in.
    Insert(Drive, PathBuf),
    /// How long waits last from here on.
    Timeout(Time),
    /// Let this much time pass.
    Sleep(Time),
    /// Wait for the machine's end with this exit code.
    ExpectExit(u8),
    /// Stop guest time.
    Pause,
    /// Go on.
    Resume,
    /// The reset button.
    Reset,
    /// End the run with exit code 0.
    Quit,
}

/// The commands' names and arguments, for messages.
const COMMANDS: [(&str, &str); 16] = [
    ("wait-screen", "TEXT"),
    ("wait-serial", "TEXT"),
    ("type", "TEXT"),
    ("key", "KEYS..."),
    ("mouse", "DX DY [BUTTONS]"),
    ("screenshot", "FILE"),
    ("screen", ""),
    ("eject", "a|b|cd"),
    ("insert", "a|b|cd FILE"),
    ("timeout", "SECONDS"),
    ("sleep", "SECONDS"),
    ("expect-exit", "CODE"),
    ("pause", ""),
    ("resume", ""),
    ("reset", ""),
    ("quit", ""),
];

/// Parses one line; `None` if it holds nothing but blanks and a comment.
///
/// # Errors
/// What is wrong and what to write instead, without the line's place.
pub fn parse(line: &str) -> Result<Option<Command>, String> {
    let words = split(line)?;
    let Some((name, arguments)) = words.split_first() else { return Ok(None) };
    let Some((_, usage)) = COMMANDS.iter().find(|(known, _)| known == name) else {
        return Err(unknown("command", name, COMMANDS.iter().map(|(known, _)| *known)));
    };
    let wrong_count = || format!("write '{name} {usage}'").trim_end_matches([' ', '\'']).to_owned() + "'";
    let text = |i: usize| arguments.get(i).ok_or_else(wrong_count);
    let at_most = |count: usize| {
        let extra = arguments.get(count);
        extra.map_or(Ok(()), |extra| {
            let hint = if usage.contains("TEXT") { "; put text with blanks in quotes" } else { "" };
            Err(format!("'{extra}' is one word too many for '{name}'{hint}"))
        })
    };
    let command = match name.as_str() {
        "wait-screen" => Command::WaitScreen(not_empty(name, text(0)?)?),
        "wait-serial" => Command::WaitSerial(not_empty(name, text(0)?)?),
        "type" => Command::Keys(typed(text(0)?)?),
        "key" => {
            text(0)?;
            Command::Keys(arguments.iter().map(|word| combination(word)).collect::<Result<_, _>>()?)
        }
        "mouse" => {
            at_most(3)?;
            let buttons = arguments.get(2).map_or(Ok(Buttons::default()), |word| buttons(word))?;
            Command::Mouse(distance(text(0)?)?, distance(text(1)?)?, buttons)
        }
        "screenshot" => Command::Screenshot(text(0)?.into()),
        "screen" => Command::Screen,
        "eject" => Command::Eject(drive(text(0)?)?),
        "insert" => Command::Insert(drive(text(0)?)?, text(1)?.into()),
        "timeout" => Command::Timeout(seconds(text(0)?)?),
        "sleep" => Command::Sleep(seconds(text(0)?)?),
        "expect-exit" => {
            let code = text(0)?;
            Command::ExpectExit(code.parse().map_err(|_| format!("'{code}' is no exit code; they go from 0 to 255"))?)
        }
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "reset" => Command::Reset,
        _ => Command::Quit,
    };
    match name.as_str() {
        "key" | "mouse" => {}
        "insert" => at_most(2)?,
        "screen" | "pause" | "resume" | "reset" | "quit" => at_most(0)?,
        _ => at_most(1)?,
    }
    Ok(Some(command))
}

/// Splits a line into words as a shell does. Outside quotes a backslash stays unless a blank, a quote, `#` or another
/// backslash follows, so that `\n` needs no quotes.
///
/// # Errors
/// If a quote is not closed.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if c.is_whitespace() => words.extend(word.take()),
            '#' if word.is_none() => break,
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed; put {c} at its end")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' && matches!(chars.peek(), Some('"' | '\\')) => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => {
                let word = word.get_or_insert_default();
                match chars.peek() {
                    Some(&next) if next.is_whitespace() || matches!(next, '\'' | '"' | '\\' | '#') => {
                        word.extend(chars.next());
                    }
                    _ => word.push('\\'),
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// `words` as a line that [`split`] takes apart again.
pub fn join(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-+_./:,".contains(c));
        if plain {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn not_empty(name: &str, text: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("'{name}' needs a text to wait for")) } else { Ok(text.to_owned()) }
}

/// The keys that type `text`, in which `\n` is Enter, `\t` Tab, `\e` Esc and `\\` a backslash.
fn typed(text: &str) -> Result<Vec<Vec<KeyCode>>, String> {
    let mut keys = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = match (c, chars.peek()) {
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('t')) => Some('\t'),
            ('\\', Some('e')) => Some('\u{1b}'),
            ('\\', Some('\\')) => Some('\\'),
            _ => None,
        };
        if escaped.is_some() {
            chars.next();
        }
        keys.push(stroke(escaped.unwrap_or(c))?);
    }
    Ok(keys)
}

/// The keys that are down together for one character, modifiers first.
fn stroke(c: char) -> Result<Vec<KeyCode>, String> {
    let strokes = keys::strokes(c).ok_or_else(|| format!("a US keyboard has no key for '{}'", c.escape_default()))?;
    Ok(strokes.into_iter().filter(|(_, pressed)| *pressed).map(|(key, _)| key).collect())
}

/// Keys held together, joined by hyphens or plus signs.
fn combination(word: &str) -> Result<Vec<KeyCode>, String> {
    let mut keys = Vec::new();
    for name in word.split(['-', '+']) {
        let key = key_names::key(name)
            .ok_or_else(|| unknown("key", name, key_names::all()) + " (or a character that a key has: a, 1, /)")?;
        if keys.contains(&key) {
            return Err(format!("'{name}' is in '{word}' twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn distance(word: &str) -> Result<i32, String> {
    let number: Option<i32> = word.parse().ok().filter(|n| (-10_000..=10_000).contains(n));
    number.ok_or_else(|| format!("'{word}' is no distance; write a whole number from -10000 to 10000"))
}

fn buttons(word: &str) -> Result<Buttons, String> {
    let mut buttons = Buttons::default();
    for name in word.split(['-', '+']) {
        match name {
            "left" => buttons.left = true,
            "right" => buttons.right = true,
            "middle" => buttons.middle = true,
            "none" => {}
            _ => return Err(format!("'{name}' is no mouse button; write left, right, middle, left+right or none")),
        }
    }
    Ok(buttons)
}

fn drive(word: &str) -> Result<Drive, String> {
    match word {
        "a" => Ok(Drive::Floppy(0)),
        "b" => Ok(Drive::Floppy(1)),
        "cd" => Ok(Drive::Cd),
        _ => Err(format!("'{word}' is no drive; write a, b or cd")),
    }
}

fn seconds(word: &str) -> Result<Time, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => Ok((seconds * 1e9) as Time),
        _ => Err(format!("'{word}' is no time; write a number of seconds above 0")),
    }
}

/// The sentence for a name that is none, with the nearest that is.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    // Nobody's names are that long, but a script's may be.
    let short = name.len() <= 40;
    let nearest = known.clone().filter(|_| short).map(|candidate| (difference(name, candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + candidate.len() / 4 => {
            format!("unknown {what} '{name}'; did you mean '{candidate}'?")
        }
        _ => format!("unknown {what} '{name}'; use {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// How many letters must be put in, taken out, replaced or swapped with the next to make one word of the other.
fn difference(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(words(r#"type "a b" 'c "d"' e\ f # rest"#), ["type", "a b", "c \"d\"", "e f"]);
        assert_eq!(words(r#""A:\>" 'C:\\x' \n "\"\\" a#b """#), [r"A:\>", r"C:\\x", r"\n", r#""\"#, "a#b", ""]);
        assert_eq!(words("  # nothing"), Vec::<String>::new());
        assert!(split("type 'x").unwrap_err().contains("not closed"));
        for list in [&["type", "it's \\n \"x\"", ""][..], &["a/b-c", "#"]] {
            let list: Vec<_> = list.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(words(&join(&list)), list);
        }
    }

    #[test]
    fn commands_are_understood() {
        use KeyCode::{A, AltLeft, Backslash, ControlLeft, Delete, Enter, F1, ShiftLeft};
        let ok = |line: &str| parse(line).unwrap().unwrap();
        assert_eq!(parse("   # x"), Ok(None));
        assert_eq!(ok("wait-screen \"A:\\>\""), Command::WaitScreen("A:\\>".into()));
        assert_eq!(ok("type aA\\n"), Command::Keys(vec![vec![A], vec![ShiftLeft, A], vec![Enter]]));
        assert_eq!(ok(r"type '\\'"), Command::Keys(vec![vec![Backslash]]));
        assert_eq!(ok("key ctrl-alt-del f1"), Command::Keys(vec![vec![ControlLeft, AltLeft, Delete], vec![F1]]));
        let left = Buttons { left: true, ..Buttons::default() };
        assert_eq!(ok("mouse -5 7 left"), Command::Mouse(-5, 7, left));
        assert_eq!(ok("insert b x.img"), Command::Insert(Drive::Floppy(1), "x.img".into()));
        assert_eq!(ok("timeout 0.5"), Command::Timeout(500_000_000));
        assert_eq!(ok("expect-exit 0"), Command::ExpectExit(0));
        for (name, _) in COMMANDS {
            assert!(!parse(name).is_err_and(|e| e.contains("unknown")), "{name}");
        }
    }

    #[test]
    fn wrong_commands_are_explained() {
        for (line, says) in [
            ("wiat-screen x", "did you mean 'wait-screen'?"),
            ("fly", "unknown command 'fly'; use wait-screen"),
            ("wait-screen", "write 'wait-screen TEXT'"),
            ("wait-screen a b", "'b' is one word too many for 'wait-screen'; put text with blanks in quotes"),
            ("wait-screen ''", "needs a text"),
            ("type 'x", "the quote ' is not closed"),
            ("type \u{e4}", "no key for '\\u{e4}'"),
            ("key ctrl-alt-dle", "did you mean 'del'?"),
            ("key ctrl-ctrl", "twice"),
            ("key ''", "unknown key ''"),
            ("mouse 1", "write 'mouse DX DY [BUTTONS]'"),
            ("mouse 1 x", "no distance"),
            ("mouse 1 1 up", "no mouse button"),
            ("eject c", "write a, b or cd"),
            ("insert a", "write 'insert a|b|cd FILE'"),
            ("timeout -1", "above 0"),
            ("expect-exit 256", "0 to 255"),
            ("pause now", "one word too many"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}

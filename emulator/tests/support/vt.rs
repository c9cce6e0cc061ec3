//! A terminal's screen: the control sequences that `--display terminal` writes, and nothing else.

/// What a terminal of some size shows.
#[derive(Debug)]
pub struct Terminal {
    /// Columns and rows.
    pub size: (usize, usize),
    cells: Vec<Vec<char>>,
    /// Column and row of the cursor. Behind the last column it waits for the next character.
    pub cursor: (usize, usize),
    /// Whether the cursor is seen.
    pub cursor_shown: bool,
    /// Whether this is the second screen, which goes without a trace.
    pub alternate: bool,
    /// What was written to the first screen, without its line ends.
    pub first: String,
    /// What came of a sequence that is not whole yet.
    rest: Vec<u8>,
}

impl Terminal {
    /// An empty one.
    #[must_use]
    pub fn new(columns: usize, rows: usize) -> Self {
        let cells = vec![vec![' '; columns]; rows];
        let size = (columns, rows);
        Terminal {
            size,
            cells,
            cursor: (0, 0),
            cursor_shown: true,
            alternate: false,
            first: String::new(),
            rest: Vec::new(),
        }
    }

    /// The rows without trailing blanks.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Takes output.
    ///
    /// # Panics
    /// If it leaves the screen or holds a sequence that this terminal does not know.
    pub fn write(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        while let Some(used) = self.step() {
            self.rest.drain(..used);
        }
    }

    /// Takes one character or sequence, and returns its length.
    fn step(&mut self) -> Option<usize> {
        let first = *self.rest.first()?;
        if first != 0x1b {
            let length = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            let text = std::str::from_utf8(self.rest.get(..length)?).expect("UTF-8").to_owned();
            self.print(text.chars().next().expect("a character"));
            return Some(length);
        }
        if *self.rest.get(1)? != b'[' {
            panic!("an unknown sequence: {:?}", String::from_utf8_lossy(&self.rest));
        }
        let length = 2 + self.rest[2..].iter().position(|byte| (0x40..0x7f).contains(byte))?;
        let parameters = String::from_utf8_lossy(&self.rest[2..length]).into_owned();
        match (self.rest[length], parameters.as_str()) {
            (b'H', place) => {
                let mut numbers = place.split(';').map(|number| number.parse().unwrap_or(1usize));
                let (row, column) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
                assert!(column <= self.size.0 && row <= self.size.1, "{place} is beyond {:?}", self.size);
                self.cursor = (column - 1, row - 1);
            }
            (b'J', "2") => self.cells = vec![vec![' '; self.size.0]; self.size.1],
            (b'm', _) => {}
            (b'h', "?25") => self.cursor_shown = true,
            (b'l', "?25") => self.cursor_shown = false,
            (b'h', "?1049") => self.alternate = true,
            (b'l', "?1049") => self.alternate = false,
            (end, _) => panic!("an unknown sequence: {parameters}{}", char::from(end)),
        }
        Some(length + 1)
    }

    fn print(&mut self, c: char) {
        let (x, y) = self.cursor;
        match c {
            '\r' => self.cursor.0 = 0,
            '\n' => self.cursor.1 = (y + 1).min(self.size.1 - 1),
            // Only the second screen's places are kept in mind.
            _ if !self.alternate => self.first.push(c),
            _ => {
                assert!(x < self.size.0, "'{c}' runs past the edge in row {y}");
                self.cells[y][x] = c;
                self.cursor.0 += 1;
            }
        }
    }
}

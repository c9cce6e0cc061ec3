//! Reading a `suite.toml`: fields whose errors name them, and the files that patterns choose.

use std::path::Path;
use toml::{Table, Value};

/// The text of a file as a table. The error names the line.
pub fn table(text: &str) -> Result<Table, String> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message().replace('\n', " "))
    })
}

/// The names of the files in `folder`, in order.
pub fn files(folder: &Path) -> Result<Vec<String>, String> {
    let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<String> = files
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    Ok(files)
}

/// One table of the file, whose errors name its fields.
pub struct Fields<'a> {
    /// The table.
    pub table: &'a Table,
    /// What stands before a field's name in errors: `image.`
    pub place: &'a str,
}

impl Fields<'_> {
    /// Refuses keys that are not in the list.
    pub fn known(&self, keys: &[&str]) -> Result<(), String> {
        match self.table.keys().find(|key| !keys.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(format!("{}{key} is no key; there are {}", self.place, keys.join(", "))),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{}{key} must be a text in quotes", self.place)),
        }
    }

    /// A number that is not negative.
    pub fn number(&self, key: &str, max: i64) -> Result<Option<i64>, String> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Integer(number)) if (0..=max).contains(number) => Ok(Some(*number)),
            Some(_) => Err(format!("{}{key} must be a number from 0 to {max:#x}", self.place)),
        }
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(_) => Err(format!("{}{key} must be true or false", self.place)),
        }
    }

    /// A table of its own.
    pub fn table(&self, key: &str) -> Result<Option<&Table>, String> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(_) => Err(format!("{}{key} must be a table", self.place)),
        }
    }

    /// The files that the patterns of a list choose; without the list, all of them.
    pub fn chosen(&self, key: &str, files: &[String]) -> Result<Vec<String>, String> {
        let wrong = || format!("{}{key} must be a list of texts", self.place);
        let patterns = match self.table.get(key) {
            None => vec!["*".to_owned()],
            Some(Value::Array(list)) => {
                list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        if let Some(pattern) = patterns.iter().find(|pattern| !files.iter().any(|file| is_like(pattern, file))) {
            return Err(format!("{}{key}: no file is like '{pattern}'", self.place));
        }
        let chosen = files.iter().filter(|file| patterns.iter().any(|pattern| is_like(pattern, file)));
        Ok(chosen.cloned().collect())
    }
}

/// Whether `name` is like `pattern`, in which `*` stands for anything.
fn is_like(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|name| (0..=name.len()).any(|at| name.is_char_boundary(at) && is_like(rest, &name[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        assert!(is_like("*", "a") && is_like("a*c", "abbc") && is_like("*.f*t", "x.flat") && is_like("a", "a"));
        assert!(!is_like("a*c", "abcd") && !is_like("*.bin", "x.flat") && !is_like("", "a"));
    }
}

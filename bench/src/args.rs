//! Reads `--key value` arguments and bare words. Knows nothing of what they mean.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context, Result, bail};

/// The arguments of a command: bare words in order, options by name. An option that nobody takes is an error in [`Args::finish`].
#[derive(Debug)]
pub struct Args {
    pub words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Args {
    /// `flags` are the options that take no value.
    pub fn parse(args: impl Iterator<Item = String>, flags: &[&str]) -> Result<Self> {
        let mut words = Vec::new();
        let mut options = BTreeMap::new();
        let mut args = args;
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                words.push(arg);
                continue;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if flags.contains(&name) => (name, String::new()),
                None => (name, args.next().with_context(|| format!("--{name} needs a value"))?),
            };
            options.insert(name.to_owned(), value);
        }
        Ok(Self { words, options })
    }

    pub fn flag(&mut self, name: &str) -> bool {
        self.options.remove(name).is_some()
    }

    pub fn optional<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        match self.options.remove(name) {
            None => Ok(None),
            Some(raw) => match raw.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => bail!("--{name}: '{raw}' is not a valid value"),
            },
        }
    }

    pub fn or<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    pub fn required<T: FromStr>(&mut self, name: &str) -> Result<T> {
        self.optional(name)?.with_context(|| format!("--{name} is missing"))
    }

    pub fn finish(self) -> Result<Vec<String>> {
        match self.options.keys().next() {
            Some(name) => bail!("unknown option --{name}"),
            None => Ok(self.words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::parse(line.split_whitespace().map(str::to_owned), &["quick"]).unwrap()
    }

    #[test]
    fn options_flags_and_words() {
        let mut args = parse("echo --size 20 --quick --depth=16");
        assert_eq!(args.required::<usize>("size").unwrap(), 20);
        assert_eq!(args.or("depth", 1).unwrap(), 16);
        assert!(args.flag("quick"));
        assert_eq!(args.finish().unwrap(), ["echo"]);
    }

    #[test]
    fn mistakes_are_named() {
        let mut args = parse("--size many --dept 3");
        assert_eq!(args.required::<usize>("size").unwrap_err().to_string(), "--size: 'many' is not a valid value");
        assert_eq!(args.finish().unwrap_err().to_string(), "unknown option --dept");
    }
}

//! From a file and the environment to [`RawConfig`]: what is unknown is an error with a suggestion, what is wrong names its key.

use super::raw::{RawConfig, TABLES, keys_of};
use super::{ConfigError, Problem};
use serde_ignored::Path;
use std::collections::BTreeMap;
use std::fs;
use toml::{Table, Value};

/// Variables that begin so and have a `__` are configuration.
const PREFIX: &str = "SWITCHBOARD_";

/// Reads the configuration: the environment wins over the file.
///
/// # Errors
/// The file cannot be read or is no TOML; a key is unknown or its value has the wrong type.
pub fn load(
    file: Option<&std::path::Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<RawConfig, ConfigError> {
    let mut table = match file {
        Some(path) => {
            let shown = path.display().to_string();
            let text = fs::read_to_string(path)
                .map_err(|error| ConfigError::Read { path: shown.clone(), message: error.to_string() })?;
            text.parse::<Table>()
                .map_err(|error| ConfigError::Syntax { path: shown, message: syntax_message(&text, &error) })?
        }
        None => Table::new(),
    };
    let variables = merge_environment(&mut table, environment)?;
    read_table(table, &variables)
}

/// Line and column and what is wrong, without the line itself: there may be a secret on it.
fn syntax_message(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().and_then(|span| text.get(..span.start)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: ")
    });
    format!("{}{}", place.unwrap_or_default(), error.message())
}

fn read_table(table: Table, variables: &BTreeMap<String, String>) -> Result<RawConfig, ConfigError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(Value::Table(table), &mut track);
    let result: Result<RawConfig, _> = serde_ignored::deserialize(deserializer, |path| unknown.push(show_path(&path)));
    match result {
        Err(error) => {
            let key = track.path().to_string();
            // The library shows the whole context; the key is ours to show.
            let message = error.message().trim().to_owned();
            Err(ConfigError::Problems(vec![Problem::at(key, message).from(variables)]))
        }
        Ok(_) if !unknown.is_empty() => {
            Err(ConfigError::Problems(unknown.into_iter().map(|key| unknown_key(key).from(variables)).collect()))
        }
        Ok(raw) => {
            let unknown = unknown_secret_keys(&raw);
            if unknown.is_empty() { Ok(raw) } else { Err(ConfigError::Problems(unknown)) }
        }
    }
}

/// A secret that says nothing of where it is has, most likely, a misspelt key.
fn unknown_secret_keys(raw: &RawConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, app) in raw.apps.iter().enumerate() {
        let lists = [("secrets", &app.secrets), ("api_keys", &app.api_keys)];
        let listed = lists.iter().flat_map(|(name, list)| {
            list.iter().enumerate().map(move |(place, secret)| (format!("apps[{index}].{name}[{place}]"), secret))
        });
        for (key, secret) in app.secret.iter().map(|secret| (format!("apps[{index}].secret"), secret)).chain(listed) {
            let given = [secret.value.is_some(), secret.file.is_some(), secret.env.is_some()];
            if given.iter().filter(|given| **given).count() != 1 {
                problems.push(Problem::at(key, "a secret has exactly one of value, file, env"));
            }
        }
    }
    problems
}

/// `apps[0].origns`
fn show_path(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", show_path(parent)),
        Path::Map { parent, key } => match show_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => show_path(parent),
    }
}

fn unknown_key(key: String) -> Problem {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
    let plain_table: String = without_indexes(table);
    let name = without_indexes(name);
    let here = keys_of(&plain_table).unwrap_or_default();
    let near = here.iter().map(|known| (strsim::damerau_levenshtein(&name, known), *known)).min();
    let elsewhere = TABLES.iter().find(|table| keys_of(table).is_some_and(|keys| keys.contains(&name.as_str())));
    let message = match (near, elsewhere) {
        (Some((distance, known)), _) if distance <= known.len().max(name.len()) / 3 => {
            format!("unknown key; did you mean \"{known}\"?")
        }
        (_, Some(other)) => format!("unknown key; \"{name}\" belongs into [{other}]"),
        _ if here.is_empty() => "unknown key".to_owned(),
        _ => format!("unknown key; there are {}", here.join(", ")),
    };
    Problem::at(key, message)
}

fn without_indexes(path: &str) -> String {
    let mut depth = 0;
    path.chars()
        .filter(|c| {
            depth += i32::from(*c == '[');
            let keep = depth == 0;
            depth -= i32::from(*c == ']');
            keep
        })
        .collect()
}

/// Puts variables such as `SWITCHBOARD_TLS__CERT` and `SWITCHBOARD_APPS__0__SECRET` into the table. Returns which key came from which.
fn merge_environment(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    let mut misspelt = Vec::new();
    let ours = environment.into_iter().filter_map(|(name, value)| {
        let path = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        if path.contains("__") {
            return Some((path, name, value));
        }
        misspelt.extend(meant(&path).map(|(table, key)| {
            let right = format!("{PREFIX}{}__{}", table.to_ascii_uppercase(), key.to_ascii_uppercase());
            Problem::at(name, format!("sets nothing; did you mean {right}, for {table}.{key}?"))
        }));
        None
    });
    // Sorted, so that element 0 of a list comes before element 1.
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    if !misspelt.is_empty() {
        return Err(ConfigError::Problems(misspelt));
    }
    for (path, name, value) in ours {
        let parts: Vec<&str> = path.split("__").collect();
        let value = environment_value(&value)
            .map_err(|message| ConfigError::Problems(vec![Problem::at(name.clone(), message)]))?;
        let mut key = String::new();
        for part in &parts {
            match part.parse::<usize>() {
                Ok(index) => key.push_str(&format!("[{index}]")),
                Err(_) if key.is_empty() => key.push_str(part),
                Err(_) => key.push_str(&format!(".{part}")),
            }
        }
        let problem = || Problem::at(key.clone(), format!("cannot be set by the environment variable {name}"));
        insert(table, &parts, value).ok_or_else(|| ConfigError::Problems(vec![problem()]))?;
        variables.insert(key, name);
    }
    Ok(variables)
}

/// What a variable without `__` was meant to set: `listen` and `server_listen` are `listen` of `[server]`. Others are none of ours: there are those of the command line,
/// and a system that runs containers may set some of its own, such as `SWITCHBOARD_PORT`.
fn meant(path: &str) -> Option<(&'static str, &'static str)> {
    let single = TABLES.iter().filter(|table| !matches!(**table, "apps" | "raw"));
    let keys = single.flat_map(|table| keys_of(table).unwrap_or_default().iter().map(move |key| (*table, *key)));
    let known: Vec<_> = keys.collect();
    let whole = known
        .iter()
        .find(|(table, key)| path.strip_prefix(table).is_some_and(|rest| rest.strip_prefix('_') == Some(key)));
    whole.or_else(|| known.iter().find(|(_, key)| path == *key)).copied()
}

/// Lists and tables are written as in TOML, `true` and `false` are what they say, all else is a text.
fn environment_value(raw: &str) -> Result<Value, String> {
    match raw.trim() {
        "true" => Ok(Value::Boolean(true)),
        "false" => Ok(Value::Boolean(false)),
        list if list.starts_with(['[', '{']) => {
            let wrapped: Table = format!("value = {list}").parse().map_err(|error: toml::de::Error| {
                format!("is neither a text nor a list as in TOML: {}", error.message())
            })?;
            wrapped.into_iter().next().map(|(_, value)| value).ok_or_else(String::new)
        }
        _ => Ok(Value::String(raw.to_owned())),
    }
}

fn insert(table: &mut Table, path: &[&str], value: Value) -> Option<()> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return Some(());
    }
    let list = rest.first().is_some_and(|next| next.parse::<usize>().is_ok());
    let empty = if list { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
    insert_into(table.entry(*first).or_insert(empty), rest, value)
}

fn insert_into(place: &mut Value, path: &[&str], value: Value) -> Option<()> {
    match place {
        Value::Table(table) => insert(table, path, value),
        Value::Array(list) => {
            let (index, rest) = path.split_first()?;
            let index: usize = index.parse().ok()?;
            // A list grows by one at a time: a gap would be an element that nobody described.
            if index > list.len() {
                return None;
            }
            if index == list.len() {
                list.push(if rest.is_empty() { value.clone() } else { Value::Table(Table::new()) });
            }
            match rest {
                [] => *list.get_mut(index)? = value,
                rest => insert_into(list.get_mut(index)?, rest, value)?,
            }
            Some(())
        }
        _ => None,
    }
}

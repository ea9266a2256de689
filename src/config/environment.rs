//! Settings from the environment: `ROOMCAST_<SECTION>__<KEY>`, and `…_FILE` for a file that holds
//! the value.
//!
//! The text of a variable is read as what its default is: a string needs no quotes, a list is a TOML
//! array.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use toml::Value;

use super::findings::{Findings, Source};
use super::later;
use super::reference::{Reference, did_you_mean, is_secret, nearest};

const PREFIX: &str = "ROOMCAST_";

/// Names the configuration file.
const CONFIG: &str = "ROOMCAST_CONFIG";

/// Variables of ours that are no settings.
const OTHERS: [&str; 3] = [CONFIG, "ROOMCAST_ADMIN", "ROOMCAST_API_KEY"];

/// A setting that the environment makes.
pub(super) struct Setting {
    /// `section.key`.
    pub(super) path: String,
    /// Its value, of the type that the text could be read as.
    pub(super) value: Value,
    /// The variable, and its file.
    pub(super) source: String,
}

/// The file that `ROOMCAST_CONFIG` names.
pub(super) fn config_file(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, path) = environment.iter().find(|(name, _)| name == CONFIG)?;
    // Compose files and the like pass on variables that nobody has set as empty ones.
    (!path.is_empty()).then(|| path.into())
}

/// The settings that the environment makes; everything else under our prefix is reported.
pub(super) fn settings(
    environment: &[(OsString, OsString)],
    reference: &Reference,
    findings: &mut Findings,
) -> Vec<Setting> {
    let mut ours: Vec<(&str, &OsStr)> = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str())))
        .filter(|(name, _)| name.starts_with(PREFIX) && !OTHERS.contains(name))
        .collect();
    ours.sort_unstable();
    let mut settings: Vec<Setting> = Vec::new();
    for (name, value) in ours {
        let Some(setting) = setting(name, value, reference, findings) else {
            continue;
        };
        if settings.iter().any(|earlier| earlier.path == setting.path) {
            let plain = variable(&setting.path);
            let message = format!("is set beside `{plain}`: unset one of them");
            findings.error_in(here(), format!("{plain}_FILE"), message);
        } else {
            settings.push(setting);
        }
    }
    settings
}

/// Reads one variable.
fn setting(name: &str, value: &OsStr, reference: &Reference, findings: &mut Findings) -> Option<Setting> {
    let Some((section, key)) = name[PREFIX.len()..].split_once("__") else {
        warn_if_close(name, reference, findings);
        return None;
    };
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    let from_file = key
        .strip_suffix("_file")
        .filter(|key| reference.default(&section, key).is_some());
    let is_file = from_file.is_some();
    let key = from_file.unwrap_or(&key);
    let path = format!("{section}.{key}");
    let Some(default) = reference.default(&section, key) else {
        findings.error_in(here(), name, unknown(name, &path, reference));
        return None;
    };
    let Some(value) = value.to_str() else {
        findings.error_in(here(), name, "is not UTF-8");
        return None;
    };
    let mut source = format!("environment variable {name}");
    let read = if is_file {
        // Whoever mixes the two variables up has put the secret itself here.
        if !is_secret(&path) {
            source.push_str(&format!(", file {value}"));
        }
        read_file(value, &path, default)
    } else {
        parse(value, &path, default)
    };
    match read {
        Ok(value) => Some(Setting { path, value, source }),
        Err(message) => {
            findings.error_in(Source::named(source), path, message);
            None
        }
    }
}

/// Why a variable with two underscores is none of ours.
fn unknown(name: &str, path: &str, reference: &Reference) -> String {
    let setting = path.strip_suffix("_file").unwrap_or(path);
    if let Some(reason) = later::setting(setting) {
        return reason.to_owned();
    }
    if path.starts_with("namespace.") {
        return "[[namespace]] comes from the configuration file alone".to_owned();
    }
    let known = reference.paths().map(|path| variable(&path));
    let near = nearest(name, known).or_else(|| reference.nearest_path(path).map(|path| variable(&path)));
    format!("unknown variable{}", did_you_mean(near))
}

/// Other variables under our prefix are ignored (Kubernetes makes some), unless they look like a slip.
fn warn_if_close(name: &str, reference: &Reference, findings: &mut Findings) {
    let settings = reference.paths().map(|path| variable(&path));
    // A single underscore where two belong is the usual slip.
    let known = settings
        .map(|known| (known.replace("__", "_"), known))
        .chain(OTHERS.map(|known| (known.to_owned(), known.to_owned())));
    let near = known
        .map(|(look, known)| (strsim::damerau_levenshtein(name, &look), known))
        .filter(|(distance, _)| *distance <= 1)
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, known)) = near {
        findings.warning_in(here(), name, format!("is ignored; did you mean `{known}`?"));
    }
}

/// The source of what is no setting.
fn here() -> Source {
    Source::named("environment")
}

/// The variable for `section.key`.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// Reads the text of a variable as what its default is.
fn parse(text: &str, path: &str, default: &Value) -> Result<Value, String> {
    match (path, default) {
        // These may be something else than their default is.
        (path, _) if is_one_or_many(path) => Ok(match text.parse() {
            Ok(Value::Array(items)) => Value::Array(items),
            _ => Value::String(text.to_owned()),
        }),
        ("server.demo", _) => Ok(boolean(text).unwrap_or_else(|| Value::String(text.to_owned()))),
        (_, Value::Array(_)) => match text.parse() {
            Ok(Value::Array(items)) => Ok(Value::Array(items)),
            _ => Err(r#"must be a TOML array such as ["one", "two"]"#.to_owned()),
        },
        (_, Value::Integer(_)) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("must be a whole number such as {default}, found \"{text}\"")),
        (_, Value::Boolean(_)) => boolean(text).ok_or_else(|| format!("must be true or false, found \"{text}\"")),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Whether what stands at `path` may be a list or a single item of one.
fn is_one_or_many(path: &str) -> bool {
    matches!(path, "server.listen" | "webhook.secret")
}

fn boolean(text: &str) -> Option<Value> {
    text.parse().map(Value::Boolean).ok()
}

/// Reads the value in a file: of a list, one item a line.
fn read_file(file: &str, path: &str, default: &Value) -> Result<Value, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("the file that holds it cannot be read: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let is_list = default.is_array() || (is_one_or_many(path) && text.contains('\n'));
    if is_list {
        let items = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        Ok(Value::Array(items.map(Value::from).collect()))
    } else {
        parse(text, path, default)
    }
}

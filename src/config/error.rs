use std::fmt;
use std::path::PathBuf;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `config.default.toml`, as built in.
    Default,
    /// In the settings file.
    File {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// In the environment.
    Variable(String),
    /// On the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("config.default.toml"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// What is wrong with the settings: one line, without any value, which could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{place}: this is no TOML: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's word.
        reason: String,
    },
    /// There is no such setting.
    #[error("{place}: there is no setting {key}; the settings are {known}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// What was meant to be a setting.
        key: String,
        /// Those there are.
        known: String,
    },
    /// The value will not do.
    #[error("{place}: {key} {must}")]
    Wrong {
        /// Where.
        place: Place,
        /// Which setting.
        key: &'static str,
        /// What it must be.
        must: String,
    },
}

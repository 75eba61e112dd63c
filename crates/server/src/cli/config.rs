//! `switchboard config check` and `switchboard config show`

use super::exit::Failure;
use crate::config::{self, RawConfig};
use crate::tls::Certificates;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say what is wrong with a configuration, or that nothing is
    Check {
        /// The file; without it only the environment is looked at
        #[arg(env = "SWITCHBOARD_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print the configuration as the server would see it, with all defaults and without secrets
    Show {
        /// The file; without it only the environment is looked at
        #[arg(env = "SWITCHBOARD_CONFIG")]
        file: Option<PathBuf>,
    },
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check { file } => {
                let raw = load(file.as_deref())?;
                let checked = config::check(&raw, |name| std::env::var(name).ok());
                let config = checked.map_err(|error| Failure::usage(error.to_string()))?;
                if let Some(files) = &config.tls {
                    let read = Certificates::load(files, config.http2.enabled);
                    read.map_err(|error| Failure::usage(format!("{error:#}")))?;
                }
                let apps = match config.apps.len() {
                    0 => "no applications: one for development would be made".to_owned(),
                    1 => "1 application".to_owned(),
                    count => format!("{count} applications"),
                };
                say!("the configuration is good: clients connect to {}, {apps}", config.listen);
                Ok(())
            }
            Self::Show { file } => {
                let mut raw = load(file.as_deref())?;
                // Elsewhere an option that is not written is what it is here.
                raw.channels = core::mem::take(&mut raw.channels).with_defaults();
                let shown = toml::to_string(&raw).map_err(|error| Failure::other(error.to_string()))?;
                super::write_out(format_args!("{shown}"));
                Ok(())
            }
        }
    }
}

pub(super) fn load(file: Option<&std::path::Path>) -> Result<RawConfig, Failure> {
    config::load(file, std::env::vars()).map_err(|error| Failure::usage(error.to_string()))
}

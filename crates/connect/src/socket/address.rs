//! Where the other end listens.

use std::fmt;

use headwater_core::{Error, Options, Result};
use tokio::net::TcpStream;

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads the options `host` and `port`, both required.
    pub(super) fn from_options(owner: &str, options: &Options) -> Result<Self> {
        let missing = |name: &str| {
            Error::invalid(format!(
                "{owner} needs the option '{name}': write where the other end listens, for instance host localhost and port 9999"
            ))
        };
        Ok(Self {
            host: options
                .get("host")
                .ok_or_else(|| missing("host"))?
                .to_owned(),
            port: options.parse("port")?.ok_or_else(|| missing("port"))?,
        })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<TcpStream> {
        TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| {
                Error::unavailable(format!(
                    "cannot connect to {self}: does anything listen there?"
                ))
                .with_source(error)
            })
    }
}

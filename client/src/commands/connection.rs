//! The connection to the coordinator.

use std::path::Path;

use super::failure::Failure;
use crate::client::Client;
use crate::config::Config;
use crate::error::ClientError;

/// Connects with the configuration at `config`, or with the default one.
pub(super) async fn connect(config: Option<&Path>) -> Result<Client, Failure> {
    let config = Config::find(config).map_err(ClientError::from)?;
    Ok(Client::connect(&config).await?)
}

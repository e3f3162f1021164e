//! `loda token`.

use std::path::Path;

use loda_answer::plain;
use loda_proto::v1::{NewTokenRequest, TokenInfo};

use super::connection::connect;
use super::failure::Failure;
use super::session::Session;
use crate::args::{NewToken, TokenCommand};
use crate::{exit, render};

pub(super) async fn run(
    command: &TokenCommand,
    config: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    let client = connect(config).await?;
    match command {
        TokenCommand::New(new) => {
            let NewToken { name, scope, purpose, days } = new;
            let scopes = scope.iter().map(|scope| scope.name().to_owned()).collect();
            let wanted =
                NewTokenRequest { name: name.clone(), scopes, purposes: purpose.clone(), days: u32::from(*days) };
            let made = client.new_token(wanted).await?;
            let info = made.info.unwrap_or_default();
            // Standard output gets only the token, so that it can go into a file unseen.
            writeln!(session.out, "{}", plain::line(&made.token))?;
            session.out.flush()?;
            let may = info.scopes.join(" and ");
            writeln!(
                session.err,
                "token {} until {}: it may {may}. It is shown this once: keep it like a password, and end it with\n  loda \
                 token revoke {}",
                plain::line(&info.id),
                plain::line(&info.until),
                plain::line(&info.id)
            )?;
        }
        TokenCommand::List => {
            let tokens = client.tokens().await?;
            let names = ["id", "name", "may", "purposes", "until", "last used"].map(str::to_owned);
            let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
            let row = |token: &TokenInfo| {
                vec![
                    plain::line(&token.id),
                    plain::line(&token.name),
                    plain::line(&token.scopes.join(", ")),
                    or(plain::line(&token.purposes.join(", ")), "any"),
                    plain::line(&token.until),
                    or(plain::line(&token.used), "never"),
                ]
            };
            let rows: Vec<_> = tokens.iter().map(row).collect();
            session.out.write_all(render::grid(&names, &[], &rows, session.screen.width).as_bytes())?;
        }
        TokenCommand::Revoke { id } => {
            client.revoke_token(id).await?;
            writeln!(session.err, "token {} is no more", plain::line(id))?;
        }
    }
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

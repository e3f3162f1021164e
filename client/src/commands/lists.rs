//! `loda catalogue`, `loda nodes` and `loda purposes`.

use std::path::Path;

use loda_proto::v1::Table;
use serde_json::Value;

use super::connection::connect;
use super::failure::Failure;
use super::session::Session;
use crate::args::{Catalogue, ListFormat, Nodes, Purposes};
use crate::{exit, render};
use loda_answer::plain;

pub(super) async fn catalogue(
    asked: &Catalogue,
    config: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    let mut tables = connect(config).await?.catalogue().await?;
    if let Some(name) = &asked.table {
        tables = vec![named(name, tables)?];
    }
    let text = match (asked.format, asked.table.is_some(), tables.as_slice()) {
        (ListFormat::Json, _, tables) => pretty(&render::catalogue_json(tables)),
        (ListFormat::Table, true, [table]) => render::table_details(table, session.screen.width),
        (ListFormat::Table, _, tables) => render::catalogue(tables, session.screen.width),
    };
    session.out.write_all(text.as_bytes())?;
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

pub(super) async fn nodes(asked: &Nodes, config: Option<&Path>, session: &mut Session<'_>) -> Result<u8, Failure> {
    let nodes = connect(config).await?.nodes().await?;
    let text = match asked.format {
        ListFormat::Table => render::nodes(&nodes, session.screen.width),
        ListFormat::Json => pretty(&render::nodes_json(&nodes)),
    };
    session.out.write_all(text.as_bytes())?;
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

pub(super) async fn purposes(
    asked: &Purposes,
    config: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    let purposes = connect(config).await?.purposes().await?;
    let text = match asked.format {
        ListFormat::Table => render::purposes(&purposes, session.screen.width),
        ListFormat::Json => pretty(&render::purposes_json(&purposes)),
    };
    session.out.write_all(text.as_bytes())?;
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

fn named(name: &str, tables: Vec<Table>) -> Result<Table, Failure> {
    let known: Vec<_> = tables.iter().map(|table| plain::line(&table.name)).collect();
    let found = tables.into_iter().find(|table| table.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Failure::Usage(format!("there is no table {name}\n  fix: one of {}", known.join(", "))))
}

fn pretty(value: &Value) -> String {
    format!("{}\n", loda_answer::json::escaped_pretty(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_table_gets_the_known_ones() {
        let table = |name: &str| Table { name: name.into(), ..Default::default() };
        let tables = || vec![table("people"), table("stop_search")];
        assert!(named("People", tables()).is_ok());
        let Err(failure) = named("peeple", tables()) else { unreachable!() };
        assert!(failure.to_string().contains("people, stop_search"));
    }
}

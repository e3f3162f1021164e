//! The messages between the coordinator and a worker process: a head in JSON, and bodies of bytes.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use utoipa::ToSchema;

use crate::catalogue::Files;
use crate::config::Limits;
use crate::result::figure_errors::StandardError;

/// The most bytes of a head, and of all bodies of a frame together.
const HEAD: u32 = 16 << 20;
const BODIES: u64 = 1 << 30;

/// The most bodies of a frame.
const MANY: usize = 64;

/// The first message to a process. It holds for the life of the process.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) files: Files,
    pub(super) limits: Limits,
}

/// A request to a process.
#[derive(Serialize, Deserialize)]
pub(super) enum WorkRequest {
    Plan {
        sql: String,
        boroughs: Vec<String>,
    },
    Columns {
        sql: String,
    },
    /// Bodies: the merged cells of each part, as an Arrow stream.
    Finish {
        sql: String,
        boroughs: Vec<String>,
        parts: Vec<usize>,
    },
    /// Body: the statement of the last answer.
    Local {
        sql: String,
        last: Option<String>,
    },
    /// Bodies: the answer's statement, and its rows.
    Write {
        page: Page,
    },
}

impl WorkRequest {
    /// The SQL, so that the process that has planned it can finish it.
    pub(super) fn sql(&self) -> Option<&str> {
        match self {
            Self::Plan { sql, .. } | Self::Finish { sql, .. } => Some(sql),
            Self::Columns { .. } | Self::Local { .. } | Self::Write { .. } => None,
        }
    }
}

/// The rows of an answer to write, and the format.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) format: Format,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A page of rows with the statement; withheld values are null, and `reason` says why.
    Json,
    /// RFC 4180, with [c], [x] and [z].
    Csv,
    /// With the statement in its metadata.
    Parquet,
    /// An Arrow IPC stream, with the statement in its metadata.
    Arrow,
    /// A workbook: one sheet has the figures, another has the values that they lack.
    Xlsx,
}

/// The reply of a process. The answer is in the body.
#[derive(Serialize, Deserialize)]
pub(super) enum Said {
    Done { more: bool, told: Told },
    Refused { rule: String, message: String, advice: String },
    Fault { message: String },
}

/// What the steps after the merge add to the statement of an answer.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) notes: Vec<String>,
    /// The errors of columns that are made of released figures.
    pub(crate) errors: BTreeMap<usize, StandardError>,
}

impl Said {
    pub(super) fn done() -> Self {
        Self::Done { more: false, told: Told::default() }
    }
}

fn head_of<T: Serialize>(head: &T, bodies: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut bytes = Vec::with_capacity(head.len().saturating_add(bodies.len().saturating_mul(8)).saturating_add(8));
    bytes.extend(u32::try_from(head.len()).map_err(|_| ErrorKind::InvalidData)?.to_le_bytes());
    bytes.extend(u32::try_from(bodies.len()).map_err(|_| ErrorKind::InvalidData)?.to_le_bytes());
    bodies.iter().for_each(|body| bytes.extend((body.len() as u64).to_le_bytes()));
    bytes.extend(head);
    Ok(bytes)
}

/// The lengths of the bodies, from the first eight bytes of a frame and the lengths after them.
fn lengths(first: [u8; 8], rest: &[u8]) -> io::Result<Vec<usize>> {
    let lengths = rest.chunks_exact(8).filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    let lengths: Vec<u64> = lengths.collect();
    let all = lengths.iter().try_fold(0_u64, |sum, length| sum.checked_add(*length));
    let [a, b, c, d, ..] = first;
    if u32::from_le_bytes([a, b, c, d]) > HEAD || all.is_none_or(|all| all > BODIES) {
        return Err(ErrorKind::InvalidData.into());
    }
    lengths.into_iter().map(|length| usize::try_from(length).map_err(|_| ErrorKind::InvalidData.into())).collect()
}

fn counts(first: [u8; 8]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = first;
    let (head, bodies) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let bodies = usize::try_from(bodies).unwrap_or(usize::MAX);
    if head > HEAD || bodies > MANY {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok((usize::try_from(head).unwrap_or(usize::MAX), bodies))
}

pub(super) async fn send<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    head: &T,
    bodies: &[Vec<u8>],
) -> io::Result<()> {
    to.write_all(&head_of(head, bodies)?).await?;
    for body in bodies {
        to.write_all(body).await?;
    }
    to.flush().await
}

pub(super) async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(T, Vec<Vec<u8>>)> {
    let mut first = [0_u8; 8];
    from.read_exact(&mut first).await?;
    let (head, bodies) = counts(first)?;
    let mut rest = vec![0_u8; bodies.saturating_mul(8)];
    from.read_exact(&mut rest).await?;
    let lengths = lengths(first, &rest)?;
    let mut text = vec![0_u8; head];
    from.read_exact(&mut text).await?;
    let mut all = Vec::with_capacity(bodies);
    for length in lengths {
        let mut body = vec![0_u8; length];
        from.read_exact(&mut body).await?;
        all.push(body);
    }
    Ok((serde_json::from_slice(&text)?, all))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_heard_and_what_is_cut_or_too_large_is_a_fault() {
        let said = Said::Refused { rule: "sql".to_owned(), message: "m".to_owned(), advice: "a".to_owned() };
        let bodies = vec![vec![1, 2, 3], Vec::new()];
        let mut bytes = Vec::new();
        send(&mut bytes, &said, &bodies).await.unwrap();
        let (heard, of): (Said, _) = receive(&mut bytes.as_slice()).await.unwrap();
        assert!(matches!(heard, Said::Refused { rule, .. } if rule == "sql") && of == bodies);
        for cut in 0..bytes.len() {
            assert!(receive::<Said>(&mut &bytes[..cut]).await.is_err());
        }
        for place in 0..8 {
            let mut large = bytes.clone();
            large[place] = 0xff;
            assert!(receive::<Said>(&mut large.as_slice()).await.is_err());
        }
    }
}

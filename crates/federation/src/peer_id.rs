//! Names of callers: SPIFFE ids of the four roles.

use std::fmt;
use std::str::FromStr;

use crate::borough::Gss;

/// The part that a certificate's holder has in the federation.
///
/// Displays as the path of its SPIFFE id, with the leading slash: `/borough/E09000007/node`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A borough's node: `/borough/<gss>/node`.
    Node(Gss),
    /// The coordinator: `/coordinator`.
    Coordinator,
    /// A person or program that asks: `/analyst/<id>`.
    Analyst(String),
    /// A person or program that checks the logs: `/auditor/<id>`.
    Auditor(String),
}

impl Role {
    /// `"node"`, `"coordinator"`, `"analyst"` or `"auditor"`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Coordinator => "coordinator",
            Self::Analyst(_) => "analyst",
            Self::Auditor(_) => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(gss) => write!(f, "/borough/{gss}/node"),
            Self::Coordinator => f.write_str("/coordinator"),
            Self::Analyst(id) => write!(f, "/analyst/{id}"),
            Self::Auditor(id) => write!(f, "/auditor/{id}"),
        }
    }
}

/// A whole identity: `spiffe://<domain><role>`.
///
/// There is one spelling of each: parsing accepts no upper case, port, query, empty segment or
/// trailing slash, so equal identities are equal text. The ids of analysts and auditors match
/// `[a-z0-9._-]{1,64}` and are not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    /// The federation's trust domain, as in the manifest.
    pub domain: String,
    /// Its role in that domain.
    pub role: Role,
}

impl PeerId {
    /// The identity of `role` in `domain`.
    ///
    /// # Errors
    /// [`NotAPeerId`] where the domain or the role's id has characters that an identity cannot have.
    pub fn new(domain: &str, role: Role) -> Result<Self, NotAPeerId> {
        let id = Self { domain: domain.to_owned(), role };
        // One grammar: an identity may be made exactly if its text parses.
        if id.to_string().parse().as_ref() == Ok(&id) { Ok(id) } else { Err(NotAPeerId) }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.domain, self.role)
    }
}

/// The text is not an identity of the federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the identity is not of the form spiffe://<domain>/(borough/<gss>/node | coordinator | analyst/<id> | auditor/<id>)"
)]
pub struct NotAPeerId;

impl FromStr for PeerId {
    type Err = NotAPeerId;

    fn from_str(uri: &str) -> Result<Self, NotAPeerId> {
        let rest = uri.strip_prefix("spiffe://").ok_or(NotAPeerId)?;
        let mut parts = rest.split('/');
        let domain = parts.next().filter(|d| is_domain(d)).ok_or(NotAPeerId)?;
        let role = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("borough"), Some(gss), Some("node"), None) => Role::Node(gss.parse().map_err(|_| NotAPeerId)?),
            (Some("coordinator"), None, None, None) => Role::Coordinator,
            (Some("analyst"), Some(id), None, None) if is_id(id) => Role::Analyst(id.to_owned()),
            (Some("auditor"), Some(id), None, None) if is_id(id) => Role::Auditor(id.to_owned()),
            _ => return Err(NotAPeerId),
        };
        Ok(Self { domain: domain.to_owned(), role })
    }
}

/// A trust domain: `[a-z0-9.-]`, 1 to 253 characters, no empty label.
pub(crate) fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identities_have_one_spelling() {
        for uri in [
            "spiffe://london.example/borough/E09000007/node",
            "spiffe://london.example/coordinator",
            "spiffe://london.example/analyst/a.b_c-9",
            "spiffe://london.example/auditor/x",
        ] {
            assert_eq!(uri.parse::<PeerId>().unwrap().to_string(), uri);
        }
        for uri in [
            "",
            "spiffe://",
            "spiffe:///coordinator",
            "SPIFFE://london.example/coordinator",
            "https://london.example/coordinator",
            "spiffe://London.example/coordinator",
            "spiffe://london.example:443/coordinator",
            "spiffe://london..example/coordinator",
            "spiffe://london.example/coordinator/",
            "spiffe://london.example//coordinator",
            "spiffe://london.example/coordinator?x",
            "spiffe://london.example/borough/E0900007/node",
            "spiffe://london.example/borough/E09000007/node/x",
            "spiffe://london.example/borough/E09000007",
            "spiffe://london.example/analyst/",
            "spiffe://london.example/analyst/..",
            "spiffe://london.example/analyst/Alice",
            "spiffe://london.example/analyst/a%2fb",
            "spiffe://london.example/admin/x",
        ] {
            assert_eq!(uri.parse::<PeerId>(), Err(NotAPeerId), "{uri}");
        }
        let long = format!("spiffe://d/analyst/{}", "a".repeat(65));
        assert!(long.parse::<PeerId>().is_err());
        assert!(PeerId::new("d", Role::Analyst("a/../../coordinator".into())).is_err());
    }
}

//! The asker, its permissions, and the reasons why a caller is not let in.

use loda_identity::{Peer, PeerId, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A permission of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// See the catalogue and the boroughs' nodes.
    Read,
    /// Ask questions, and fetch their answers.
    Ask,
    /// Search the query log.
    Audit,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ask => "ask",
            Self::Audit => "audit",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Ask, Self::Audit].into_iter().find(|scope| scope.name() == name)
    }

    /// All permissions of a role.
    pub(crate) fn of(role: &Role) -> &'static [Self] {
        match role {
            Role::Analyst(_) => &[Self::Read, Self::Ask],
            Role::Auditor(_) => &[Self::Read, Self::Audit],
            Role::Node(_) | Role::Coordinator => &[],
        }
    }
}

/// The credential that identified the asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Certificate(Box<Peer>),
    /// The token's id.
    Token(String),
    /// The provider's name.
    Provider(String),
}

/// A caller who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) id: PeerId,
    pub(crate) by: By,
    pub(crate) scopes: Vec<Scope>,
    /// The purposes that the token is bound to. Empty: any purpose that the boroughs have agreed to.
    pub(crate) purposes: Vec<String>,
}

impl Asker {
    /// An asker with all permissions of the role.
    ///
    /// # Errors
    /// [`Denied::Role`] if the role has no permission at the doors.
    pub(crate) fn new(id: PeerId, by: By) -> Result<Self, Denied> {
        let scopes = Scope::of(&id.role).to_vec();
        if scopes.is_empty() {
            return Err(Denied::Role);
        }
        Ok(Self { id, by, scopes, purposes: Vec::new() })
    }

    /// The asker with this certificate.
    ///
    /// # Errors
    /// [`Denied::Role`].
    pub(crate) fn of_certificate(peer: &Peer) -> Result<Self, Denied> {
        Self::new(peer.id.clone(), By::Certificate(Box::new(peer.clone())))
    }

    /// # Errors
    /// [`Denied::Role`].
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Denied::Role) }
    }

    /// The name of the credential. It tells the programs of one asker apart.
    pub(crate) fn credential(&self) -> String {
        match &self.by {
            By::Certificate(_) => format!("{} certificate", self.id),
            By::Token(id) => format!("{} token {id}", self.id),
            By::Provider(name) => format!("{} provider {name}", self.id),
        }
    }

    /// Whether the asker may use a purpose. A token with bound purposes needs one of them.
    pub(crate) fn has_purpose(&self, purpose: &str) -> bool {
        self.purposes.is_empty() || self.purposes.iter().any(|own| own == purpose)
    }

    /// The purpose of a question: the stated one, or the only one of the token.
    ///
    /// # Errors
    /// [`Denied::Purpose`] if the token is bound to other purposes.
    pub(crate) fn purpose(&self, stated: &str) -> Result<String, Denied> {
        match (stated, self.purposes.as_slice()) {
            ("", [only]) => Ok(only.clone()),
            (stated, []) => Ok(stated.to_owned()),
            (stated, _) if self.has_purpose(stated) => Ok(stated.to_owned()),
            _ => Err(Denied::Purpose),
        }
    }
}

/// The reason why a caller is not let in. The caller gets the code and a plain sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("sign in: show a certificate of the federation, or send Authorization: Bearer with a token")]
    Unknown,
    #[error("the token is not accepted")]
    Token,
    #[error("the token has expired or was revoked: make another")]
    Expired,
    #[error("certificate and token belong to different people")]
    Disagree,
    #[error("the identity provider cannot be reached: try again later")]
    Provider,
    #[error("your role or token does not permit this")]
    Role,
    #[error("your token is bound to other purposes")]
    Purpose,
    #[error("too many calls: wait a moment")]
    Rate,
}

impl Denied {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unknown => "sign_in_needed",
            Self::Token => "token_not_accepted",
            Self::Expired => "token_expired",
            Self::Disagree => "credentials_disagree",
            Self::Provider => "provider_unreachable",
            Self::Role => "not_permitted",
            Self::Purpose => "purpose_not_permitted",
            Self::Rate => "too_many_calls",
        }
    }
}

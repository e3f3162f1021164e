//! The asker's signature of a question. Boroughs check it themselves: here an asker learns of a fault at once.

use loda_identity::{AskedPart, SignedQuestion};
use loda_ledger::sha256_hex;
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use uuid::Uuid;

use crate::plan::split::{Prepared, bundles};
use crate::query::service::QueryService;

impl QueryService {
    /// The id that an asker signed, with what they signed, if that is this very question.
    ///
    /// # Errors
    /// Rule `signature`.
    pub(super) fn signature(
        &self,
        prepared: &Prepared,
        signed: &v1::SignedQuestion,
    ) -> Result<(Uuid, SignedQuestion), Refusal> {
        let refused = |what: String| Refusal::new(Rule::Signature, what, "Ask again: `loda query` signs what is sent");
        let v1::SignedQuestion { text, scheme, signature, certificate } = signed;
        let signed = SignedQuestion::of_wire(text, *scheme, signature, certificate);
        let signed = signed.ok_or_else(|| refused("the signature is too large".to_owned()))?;
        let (peer, asking) = self
            .identity
            .now()
            .trust
            .asker_of(&signed)
            .map_err(|why| refused(format!("the signature does not count: {why}")))?;
        let sent = bundles(&prepared.split)
            .into_iter()
            .map(|bundle| AskedPart { sha256: sha256_hex(&bundle.fragment.encode()), boroughs: bundle.boroughs });
        if peer.id != prepared.owner || asking.purpose != prepared.purpose || !sent.eq(asking.parts.iter().cloned()) {
            return Err(refused("another question is signed than this one".to_owned()));
        }
        if !asking.is_in_time(self.registry.now() / 1000) {
            let advice = "Ask again, with the clock of your machine set right";
            return Err(Refusal::new(Rule::Signature, "the signature is not for this time", advice));
        }
        Ok((asking.question, signed))
    }
}

//! The words behind entries of the log: what was asked, and what was released.

use loda_identity::{Gss, SignedQuestion};
use loda_ledger::payload::record::{
    BoroughReleased, FragmentSent, PartReleased, QuestionAsked, RefusalTold, ResultReleased, to_text,
};
use loda_ledger::sha256_hex;
use loda_proto::v1;
use loda_question::Refusal;

use crate::plan::split::{Prepared, bundles};
use crate::plan::syntax::sql_bounds::MAX_SQL;

/// A question, with what is sent to each borough, and as its asker signed it.
pub(super) fn asked(prepared: &Prepared, signed: Option<&SignedQuestion>) -> Vec<u8> {
    let fragments = bundles(&prepared.split).into_iter().map(|bundle| FragmentSent {
        sha256: sha256_hex(&bundle.fragment.encode()),
        words: bundle.fragment.words(),
        sql: bundle.fragment.sql(),
        boroughs: bundle.boroughs.iter().map(Gss::to_string).collect(),
    });
    to_text(&QuestionAsked {
        sql: prepared.sql.clone(),
        fragments: fragments.collect(),
        refusal: None,
        signed: signed.cloned(),
    })
}

/// A question that was refused before anybody was asked.
pub(super) fn refused(sql: &str, refusal: &Refusal) -> Vec<u8> {
    let told = RefusalTold { rule: refusal.rule.name().to_owned(), message: refusal.message.clone() };
    // A text that is refused for its length is kept as far as one may be long.
    let end = sql.floor_char_boundary(MAX_SQL);
    let sql = sql.get(..end).unwrap_or_default().to_owned();
    to_text(&QuestionAsked { sql, refusal: Some(told), ..QuestionAsked::default() })
}

/// What a statement says was released.
pub(super) fn released(statement: &v1::Statement) -> Vec<u8> {
    let borough = |said: &v1::BoroughAnswer| BoroughReleased {
        borough: said.borough.clone(),
        answer: said.answer.clone(),
        rule: said.refusal.as_ref().map(|refusal| refusal.rule.clone()).unwrap_or_default(),
        snapshot: said.snapshot,
        withheld: said.withheld,
    };
    let part = |part: &v1::Part| PartReleased {
        dataset: part.dataset.clone(),
        method: part.method.clone(),
        values: part.values,
        withheld: part.withheld,
        boroughs: part.boroughs.iter().filter(|said| said.answer != "not asked").map(borough).collect(),
    };
    to_text(&ResultReleased { complete: statement.complete, parts: statement.parts.iter().map(part).collect() })
}

//! Compares what the coordinator's log and the nodes' logs say of the same questions.
//!
//! Each party's log is checked by itself first ([`super::chained`]). Here they are held against each other: an entry that
//! one side should have and does not have is a gap. No comparison shows a question that the coordinator and all boroughs
//! that it asked leave out together, if nobody else has a checkpoint of their logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::audit::entries::Logged;
use crate::audit::gap::{Gap, GapKind};
use crate::audit::questions::{Question, questions};
use crate::event::{End, Event};
use crate::payload::RecordClass;
use crate::payload::record::{FragmentAsked, of_text};
use crate::seen::of_key;

/// How far the clocks of two parties, or of one party before and after, may differ.
const CLOCKS: TimeDelta = TimeDelta::minutes(2);

/// After this time every question has an end.
const LONGEST: TimeDelta = TimeDelta::hours(24);

/// The days that are compared, both included.
#[derive(Clone, Copy, Debug)]
pub struct Days {
    /// The first day (UTC).
    pub from: NaiveDate,
    /// The last day (UTC).
    pub until: NaiveDate,
}

impl Days {
    fn hold(&self, entry: &Logged) -> bool {
        (self.from..=self.until).contains(&entry.time.date_naive())
    }
}

/// A party's entries from the day before these days to the log's end, without a gap.
#[derive(Clone, Debug)]
pub struct PartyLog {
    /// `coordinator`, or the borough's GSS code.
    pub party: String,
    /// The public key of its log, in hexadecimal.
    pub key: String,
    /// The entries, to the log's end as it was when they were read.
    pub entries: Vec<Logged>,
    /// When they began to be read.
    pub read_at: DateTime<Utc>,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// The number of questions that boroughs were asked in these days.
    pub questions: usize,
    /// The number of times that a borough was asked a part of one.
    pub legs: usize,
    /// The number of entries that were compared.
    pub entries: usize,
    /// What does not agree, each once.
    pub gaps: BTreeSet<Gap>,
}

/// What a borough's log says of one part of a question.
#[derive(Default)]
struct Leg<'a> {
    accepted: Option<&'a Logged>,
    released: Option<&'a Logged>,
    failed: bool,
}

/// A borough's parts of questions, by the question's id and the part's own.
type Legs<'a> = BTreeMap<(String, &'a str), Leg<'a>>;

/// The coordinator's questions that asked boroughs, by their ids.
type Begun<'a> = HashMap<&'a str, &'a Question>;

/// Compares the coordinator's log with those of boroughs. The coordinator's is read first: what boroughs are asked later is
/// not looked for in it.
#[must_use]
pub fn reconcile(coordinator: &PartyLog, boroughs: &[PartyLog], days: Days) -> Reconciled {
    let logs: Vec<&PartyLog> = boroughs.iter().chain([coordinator]).collect();
    let mut found = Reconciled { entries: logs.iter().map(|log| log.entries.len()).sum(), ..Reconciled::default() };
    let all = questions(coordinator.entries.clone());
    let mut begun = Begun::new();
    for question in all.iter().filter(|question| question.was_sent()) {
        let first = *begun.entry(question.id()).or_insert(question);
        if !std::ptr::eq(first, question) && days.hold(&question.begun) {
            found.gaps.insert(coordinator.gap(question.id(), GapKind::Twice));
        }
    }
    let of_days: Vec<&Question> = begun.values().copied().filter(|question| days.hold(&question.begun)).collect();
    found.questions = of_days.len();
    // Earlier software logged the ids of parts alone.
    let ids: HashMap<String, &str> = begun.values().flat_map(|question| question.part_ids()).collect();
    for question in &of_days {
        if question.keeps_other_words() {
            found.gaps.insert(coordinator.gap(question.id(), GapKind::OtherWords));
        }
        if question.ended.is_none() && coordinator.read_at - question.begun.time > LONGEST {
            found.gaps.insert(coordinator.gap(question.id(), GapKind::NoEnd));
        }
    }
    for borough in boroughs {
        let legs = legs(borough, &ids);
        for ((question, _), leg) in &legs {
            let Some(first) = leg.accepted.or(leg.released).filter(|first| days.hold(first)) else { continue };
            found.legs = found.legs.saturating_add(1);
            let of = begun.get(question.as_str()).copied();
            let mut kinds = leg.judged(first, of, borough, coordinator);
            if leg.released.is_some() && of.is_some_and(|of| none_came(borough, of, &legs)) {
                kinds.push(GapKind::NotReceived);
            }
            found.gaps.extend(kinds.into_iter().map(|kind| borough.gap(question, kind)));
        }
        let missing = of_days.iter().filter(|question| lacks(borough, question, &legs));
        found.gaps.extend(missing.map(|question| borough.gap(question.id(), GapKind::NotReleased)));
    }
    for log in &logs {
        let dated = log.entries.iter().zip(log.entries.iter().skip(1));
        let back = dated.filter(|(before, next)| days.hold(next) && next.time + CLOCKS < before.time);
        found.gaps.extend(back.map(|(_, next)| log.gap("", GapKind::Backdated { number: next.number })));
    }
    found.gaps.extend(logs.iter().flat_map(|log| log.marks_against(&logs)));
    found.gaps.extend(logs.iter().filter_map(|log| log.without_words(days)));
    found
}

/// What a borough's log says of each part of each question. `ids`: the question of each part's id.
fn legs<'a>(borough: &'a PartyLog, ids: &HashMap<String, &str>) -> Legs<'a> {
    let mut legs = Legs::new();
    for entry in &borough.entries {
        let what = &entry.what;
        let question = match ids.get(&what.query) {
            Some(question) if what.question.is_empty() => (*question).to_owned(),
            _ => what.question().to_owned(),
        };
        let leg = || (question, what.query.as_str());
        match &what.event {
            Event::Accept { .. } => legs.entry(leg()).or_default().accepted = Some(entry),
            Event::Release { .. } => legs.entry(leg()).or_default().released = Some(entry),
            Event::Fail(_) => legs.entry(leg()).or_default().failed = true,
            Event::Intent { .. } | Event::Explain { .. } | Event::Outcome(_) | Event::Refuse(_) => {}
            Event::Admin(_) | Event::Erase(_) => {}
        }
    }
    legs
}

impl Leg<'_> {
    /// What does not agree with the coordinator's log.
    fn judged(
        &self,
        first: &Logged,
        question: Option<&Question>,
        borough: &PartyLog,
        coordinator: &PartyLog,
    ) -> Vec<GapKind> {
        let mut kinds = Vec::new();
        if self.accepted.is_none() {
            kinds.push(GapKind::NotAccepted);
        }
        if self.released.is_none() && !self.failed && borough.read_at - first.time > LONGEST {
            kinds.push(GapKind::NoEnd);
        }
        let Some(question) = question else {
            // It may have been asked after the coordinator's log was read.
            if first.time + CLOCKS < coordinator.read_at {
                kinds.push(GapKind::NotBegun);
            }
            return kinds;
        };
        let (begun, fragment) = (&question.begun.what, &first.what.fragment);
        // The part's id is made of the question's and of the fragment's place.
        let place = begun.fragment.split(' ').position(|sent| sent == fragment);
        let named = question.part_ids().filter(|(id, _)| *id == first.what.query).count() == 1;
        if place.is_none() || !named {
            kinds.push(GapKind::OtherFragment);
        }
        if begun.analyst != first.what.analyst || begun.purpose != first.what.purpose {
            kinds.push(GapKind::OtherAsker);
        }
        if begun.signed != first.what.signed {
            kinds.push(GapKind::OtherSignature);
        }
        if let Some(asked) = question.asked() {
            let mut sent = asked.fragments.iter().filter(|sent| sent.sha256 == *fragment).peekable();
            let told: Option<FragmentAsked> = first.text.as_deref().and_then(of_text);
            if sent.peek().is_some_and(|sent| told.is_some_and(|told| told.sql != sent.sql)) {
                kinds.push(GapKind::OtherWords);
            }
            if sent.peek().is_some() && !sent.any(|sent| sent.boroughs.contains(&borough.party)) {
                kinds.push(GapKind::OtherTarget);
            }
        }
        kinds
    }
}

/// Whether a borough answered, for each part of a question that has an answer. `None`: the log does not tell.
fn answers(question: &Question, borough: &str) -> Option<Vec<bool>> {
    if !matches!(question.end(), Some(End::Answered { .. })) {
        return None;
    }
    let parts = question.released()?.parts.into_iter().flat_map(|part| part.boroughs);
    Some(parts.filter(|said| said.borough == borough).map(|said| said.answer == "answered").collect())
}

/// The hashes of what a borough was sent, as the words of a question say.
fn sent_to(question: &Question, borough: &PartyLog) -> Vec<String> {
    let sent = question.asked().map(|asked| asked.fragments).unwrap_or_default();
    sent.into_iter().filter(|sent| sent.boroughs.contains(&borough.party)).map(|sent| sent.sha256).collect()
}

/// Whether the log of a borough has a release of this fragment of a question.
fn has_released(question: &Question, fragment: &str, legs: &Legs<'_>) -> bool {
    let from = (question.id().to_owned(), "");
    let of_question = legs.range(from..).take_while(|((id, _), _)| id == question.id());
    let mut released = of_question.filter_map(|(_, leg)| leg.released);
    released.any(|released| released.what.fragment == fragment)
}

/// Whether the coordinator says that a borough answered, and the borough's log has no release of it.
fn lacks(borough: &PartyLog, question: &Question, legs: &Legs<'_>) -> bool {
    let Some(answers) = answers(question, &borough.party) else { return false };
    let sent = sent_to(question, borough);
    let answered = answers.iter().any(|said| *said);
    // Which part a fragment belongs to is not told, so one that failed leaves open which release is missing.
    let all = answered && answers.iter().all(|said| *said);
    let mut released = sent.iter().map(|fragment| has_released(question, fragment, legs));
    !sent.is_empty() && answered && if all { !released.all(|has| has) } else { !released.any(|has| has) }
}

/// Whether a borough's log says that all of its figures left, and the coordinator's that none came.
fn none_came(borough: &PartyLog, question: &Question, legs: &Legs<'_>) -> bool {
    let Some(answers) = answers(question, &borough.party) else { return false };
    let sent = sent_to(question, borough);
    let all = sent.iter().all(|fragment| has_released(question, fragment, legs));
    !sent.is_empty() && all && answers.iter().all(|said| !said)
}

impl PartyLog {
    fn gap(&self, question: &str, kind: GapKind) -> Gap {
        Gap { party: self.party.clone(), question: question.to_owned(), kind }
    }

    /// Entries of these days whose words are gone though their time was not over.
    fn without_words(&self, days: Days) -> Option<Gap> {
        let erased: Vec<(RecordClass, NaiveDate)> = self
            .entries
            .iter()
            .filter_map(|entry| match &entry.what.event {
                Event::Erase(erased) => Some((RecordClass::of(&erased.class)?, erased.before.parse().ok()?)),
                _ => None,
            })
            .collect();
        let gone = |entry: &&Logged| {
            let Some(class) = entry.what.event.class() else { return false };
            let day = entry.time.date_naive();
            let over = erased.iter().any(|(of, before)| *of == class && day < *before);
            days.hold(entry) && entry.what.event.commitment().is_some() && entry.text.is_none() && !over
        };
        let mut gone = self.entries.iter().filter(gone);
        let first = gone.next()?.number;
        Some(self.gap("", GapKind::NoWords { first, entries: 1 + gone.count() as u64 }))
    }

    /// What this party has seen of the others' logs, where these show something else.
    fn marks_against(&self, logs: &[&Self]) -> Vec<Gap> {
        let names: Vec<(String, &Self)> = logs.iter().map(|log| (of_key(&log.key), *log)).collect();
        let mut gaps = Vec::new();
        for entry in &self.entries {
            for seen in &entry.what.seen {
                let Some((_, log)) = names.iter().find(|(name, _)| *name == seen.log) else { continue };
                let (at, seen_by) = (seen.mark.entries, self.party.clone());
                let (Some(first), Some(last)) = (log.entries.first(), log.entries.last()) else { continue };
                let Some(number) = at.checked_sub(1) else { continue };
                let place = number.checked_sub(first.number).and_then(|place| usize::try_from(place).ok());
                match place.and_then(|place| log.entries.get(place)) {
                    Some(shown) if shown.line != hex::encode(seen.mark.hash) => {
                        gaps.push(log.gap("", GapKind::Forked { seen_by, at }));
                    }
                    // What was seen after the log was read is not expected in it.
                    None if number > last.number && entry.time + CLOCKS < log.read_at => {
                        gaps.push(log.gap("", GapKind::Shorter { seen_by, at }));
                    }
                    _ => {}
                }
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use std::path::PathBuf;

    use loda_federation::SigningKey;
    use uuid::Uuid;

    use super::*;
    use crate::audit::entries::{LogFault, chained};
    use crate::entry::{Entry, fragment_id};
    use crate::event::{Asked, Erased};
    use crate::log::Log;
    use crate::payload::record::{BoroughReleased, FragmentSent, PartReleased, QuestionAsked, ResultReleased, to_text};
    use crate::payload::{Commitment, Opening};
    use crate::search::{Search, SignedEntry, search};
    use crate::seen::Seen;
    use crate::signed_log::SignedLines;

    const Q1: &str = "00000000-0000-4000-8000-000000000001";
    const Q2: &str = "00000000-0000-4000-8000-000000000002";
    const Q3: &str = "00000000-0000-4000-8000-000000000003";
    const BOROUGHS: [&str; 3] = ["E09000001", "E09000002", "E09000003"];

    /// The logs of a coordinator (the last one) and of three boroughs, written by the program's own log.
    struct Federation {
        dir: tempfile::TempDir,
        keys: Vec<String>,
        texts: Vec<Opening>,
    }

    type Signed = Vec<(SignedEntry, Option<Opening>)>;

    /// A party's entries, before they are signed.
    type Written = Vec<Entry>;

    impl Federation {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let keys = (0..=BOROUGHS.len()).map(|party| {
                let key = SigningKey::generate().unwrap().0;
                std::fs::create_dir(dir.path().join(party.to_string())).unwrap();
                key.save(&dir.path().join(party.to_string()).join("key")).unwrap();
                key.public_hex()
            });
            let keys = keys.collect();
            Self { dir, keys, texts: Vec::new() }
        }

        /// The same logs in another folder.
        fn copied(&self) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for party in 0..self.keys.len() {
                let (from, to) = (self.place(party), dir.path().join(party.to_string()));
                std::fs::create_dir(&to).unwrap();
                for file in ["key", "log.jsonl", "log.head"] {
                    std::fs::copy(from.join(file), to.join(file)).unwrap();
                }
            }
            Self { dir, keys: self.keys.clone(), texts: self.texts.clone() }
        }

        fn place(&self, party: usize) -> PathBuf {
            self.dir.path().join(party.to_string())
        }

        fn open(&self, party: usize) -> SignedLines {
            let key = SigningKey::load(&self.place(party).join("key")).unwrap();
            SignedLines::open(&self.place(party).join("log.jsonl"), key).unwrap()
        }

        fn text(&mut self, text: Vec<u8>) -> Commitment {
            let opening = Opening::new(text).unwrap();
            let commitment = opening.commitment();
            self.texts.push(opening);
            commitment
        }

        /// Asks one question of all boroughs.
        fn ask(&mut self, id: &str) {
            let centre = BOROUGHS.len();
            let fragment = format!("fragment of {id}").replace(' ', "-");
            let entry = |event| Entry {
                query: id.to_owned(),
                analyst: "spiffe://d/analyst/a".to_owned(),
                purpose: "p".to_owned(),
                dataset: "people".to_owned(),
                fragment: fragment.clone(),
                ..Entry::of(event)
            };
            let boroughs: Vec<String> = BOROUGHS.map(str::to_owned).to_vec();
            let sent = FragmentSent {
                sha256: fragment.clone(),
                words: "words".to_owned(),
                sql: "SELECT 1".to_owned(),
                boroughs: boroughs.clone(),
            };
            let asked = QuestionAsked { sql: "SELECT 1".to_owned(), fragments: vec![sent], ..QuestionAsked::default() };
            let asked = self.text(to_text(&asked));
            let log = self.open(centre);
            log.append(&entry(Event::Intent { asked: Asked::Committed(asked) })).unwrap();
            let told = FragmentAsked { words: "words".to_owned(), sql: "SELECT 1".to_owned() };
            let told = self.text(to_text(&told));
            let mut marks = Vec::new();
            for party in 0..centre {
                let of_centre = Seen { log: of_key(&self.keys[centre]), mark: log.head(0).now };
                let node = self.open(party);
                let part = fragment_id(Uuid::parse_str(id).unwrap(), 0).to_string();
                let at = |event| Entry { question: id.to_owned(), query: part.clone(), ..entry(event) };
                node.append(&Entry { seen: vec![of_centre], ..at(Event::Accept { asked: Some(told) }) }).unwrap();
                node.append(&at(Event::Release { used: "a snapshot".to_owned(), released: None })).unwrap();
                marks.push(Seen { log: of_key(&self.keys[party]), mark: node.head(0).now });
            }
            let said = boroughs.iter().map(|gss| BoroughReleased {
                borough: gss.clone(),
                answer: "answered".to_owned(),
                ..BoroughReleased::default()
            });
            let part = PartReleased { boroughs: said.collect(), ..PartReleased::default() };
            let released = Some(self.text(to_text(&ResultReleased { complete: true, parts: vec![part] })));
            let end = End::Answered { result_sha256: "ab".to_owned(), boroughs: 3, released };
            log.append(&Entry { seen: marks, ..entry(Event::Outcome(end)) }).unwrap();
        }

        /// Writes a party's log anew, with its own key: what a party can do that holds its key.
        fn rewrite(&self, party: usize, change: impl FnOnce(&mut Written)) {
            let path = self.place(party).join("log.jsonl");
            let (found, _) = search(&path, &Search::default(), 0, usize::MAX).unwrap();
            let mut entries: Written = found.iter().map(|one| one.read().unwrap().what).collect();
            change(&mut entries);
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(path.with_extension("head")).unwrap();
            let log = self.open(party);
            log.append_all(&entries).unwrap();
        }

        fn signed(&self, party: usize) -> Signed {
            let (found, _) = search(&self.place(party).join("log.jsonl"), &Search::default(), 0, usize::MAX).unwrap();
            let opening = |one: &SignedEntry| {
                let commitment = one.read()?.what.event.commitment()?;
                self.texts.iter().find(|text| text.opens(&commitment)).cloned()
            };
            found.into_iter().map(|one| (one.clone(), opening(&one))).collect()
        }

        fn log(&self, party: usize) -> PartyLog {
            let name = BOROUGHS.get(party).unwrap_or(&"coordinator");
            PartyLog {
                party: (*name).to_owned(),
                key: self.keys[party].clone(),
                entries: chained(self.signed(party), &self.keys[party]).unwrap(),
                read_at: Utc::now() + TimeDelta::hours(25),
            }
        }

        fn reconciled(&self) -> Reconciled {
            let boroughs: Vec<PartyLog> = (0..BOROUGHS.len()).map(|party| self.log(party)).collect();
            let today = Utc::now().date_naive();
            let days = Days { from: today.pred_opt().unwrap(), until: today.succ_opt().unwrap() };
            reconcile(&self.log(BOROUGHS.len()), &boroughs, days)
        }
    }

    fn federation() -> Federation {
        let mut all = Federation::new();
        [Q1, Q2, Q3].into_iter().for_each(|id| all.ask(id));
        all
    }

    #[test]
    fn logs_of_the_same_questions_agree() {
        let found = federation().reconciled();
        assert_eq!((found.questions, found.legs, found.entries), (3, 9, 24));
        assert_eq!(found.gaps, BTreeSet::new());
    }

    type Cheat = (&'static str, fn(&Federation), fn(&GapKind) -> bool);

    /// What a party does to its own log, with its own key, and what names it.
    const CHEATS: [Cheat; 15] = [
        (
            "a borough hides that it was asked",
            |all| all.rewrite(0, |log| log.retain(|e| e.question != Q2)),
            |k| *k == GapKind::NotReleased,
        ),
        ("a borough hides what left", |all| all.rewrite(0, |log| drop(log.remove(3))), |k| *k == GapKind::NotReleased),
        (
            "a borough hides that it accepted",
            |all| all.rewrite(1, |log| drop(log.remove(2))),
            |k| *k == GapKind::NotAccepted,
        ),
        (
            "the coordinator hides a question",
            |all| all.rewrite(3, |log| log.retain(|e| e.query != Q2)),
            |k| *k == GapKind::NotBegun,
        ),
        ("the coordinator hides the end", |all| all.rewrite(3, |log| drop(log.pop())), |k| *k == GapKind::NoEnd),
        (
            "the coordinator hides an INTENT",
            |all| all.rewrite(3, |log| drop(log.remove(2))),
            |k| *k == GapKind::NotBegun,
        ),
        ("a borough is cut", |all| all.rewrite(2, |log| log.truncate(2)), |k| matches!(k, GapKind::Shorter { .. })),
        (
            "the coordinator is cut",
            |all| all.rewrite(3, |log| log.truncate(1)),
            |k| matches!(k, GapKind::Shorter { .. }),
        ),
        (
            "a borough swaps two entries",
            |all| all.rewrite(0, |log| log.swap(0, 2)),
            |k| matches!(k, GapKind::Forked { .. }),
        ),
        (
            "a borough names another asker",
            |all| all.rewrite(0, |log| log[2].analyst = "spiffe://d/analyst/b".into()),
            |k| *k == GapKind::OtherAsker,
        ),
        (
            "the coordinator names another purpose",
            |all| all.rewrite(3, |log| log[2].purpose = "q".into()),
            |k| *k == GapKind::OtherAsker,
        ),
        (
            "the coordinator says that the asker signed",
            |all| all.rewrite(3, |log| log[2].signed = "ab".into()),
            |k| *k == GapKind::OtherSignature,
        ),
        (
            "a borough was sent another fragment",
            |all| all.rewrite(0, |log| log[2..4].iter_mut().for_each(|e| e.fragment = "other".into())),
            |k| *k == GapKind::OtherFragment,
        ),
        (
            "a question is begun twice",
            |all| all.rewrite(3, |log| log.insert(2, log[0].clone())),
            |k| *k == GapKind::Twice,
        ),
        (
            "a log is written again with one word changed",
            |all| all.rewrite(1, |log| log[0].purpose = "r".into()),
            |k| matches!(k, GapKind::Forked { .. }),
        ),
    ];

    #[test]
    fn what_a_party_does_to_its_own_log_is_named() {
        let whole = federation();
        for (what, cheat, names) in CHEATS {
            let all = whole.copied();
            cheat(&all);
            let found = all.reconciled().gaps;
            assert!(found.iter().any(|gap| names(&gap.kind)), "{what}: {found:?}");
        }
    }

    /// What somebody does who holds no key: the file is changed as it lies.
    #[test]
    fn what_others_do_to_a_log_is_named() {
        let all = federation();
        let change = |change: fn(&mut Signed)| {
            let mut entries = all.signed(3);
            change(&mut entries);
            chained(entries, &all.keys[3]).err()
        };
        assert_eq!(change(|_| ()), None);
        assert_eq!(change(|all| drop(all.remove(2))), Some(LogFault::NotNext { expected: 2 }));
        assert_eq!(change(|all| all.swap(1, 2)), Some(LogFault::NotNext { expected: 1 }));
        assert_eq!(change(|all| all.insert(1, all[1].clone())), Some(LogFault::NotNext { expected: 2 }));
        let other = |all: &mut Signed, place: usize| {
            let entry = &mut all[place].0.entry;
            *entry = entry.replacen("\"purpose\":\"p\"", "\"purpose\":\"x\"", 1);
        };
        for place in 0..6 {
            let mut entries = all.signed(3);
            other(&mut entries, place);
            let fault = chained(entries, &all.keys[3]).err().unwrap();
            let expected = match place {
                5 => LogFault::NotSigned { after: Some(4) },
                place => LogFault::NotNext { expected: place as u64 + 1 },
            };
            assert_eq!(fault, expected);
        }
        // Words that are shown in place of those that were asked.
        let told = change(|all| all[0].1.as_mut().unwrap().text.push(b' '));
        assert_eq!(told, Some(LogFault::OtherText { number: 0 }));
        assert_eq!(chained(all.signed(3), &all.keys[0]).err(), Some(LogFault::NotSigned { after: Some(4) }));
    }

    /// Words that are gone are named, unless their time was over. Entries are compared without them.
    #[test]
    fn without_the_words_entries_are_still_compared() {
        let mut all = federation();
        all.texts.clear();
        let parties: Vec<String> = all.reconciled().gaps.into_iter().map(|gap| gap.party).collect();
        assert_eq!(parties, [BOROUGHS[0], BOROUGHS[1], BOROUGHS[2], "coordinator"]);
        let tomorrow = Utc::now().date_naive().succ_opt().unwrap().to_string();
        for party in 0..=BOROUGHS.len() {
            for class in ["question", "result"] {
                let erased = Erased { class: class.to_owned(), before: tomorrow.clone(), texts: 9 };
                all.open(party).append(&Entry::of(Event::Erase(erased))).unwrap();
            }
        }
        assert_eq!(all.reconciled().gaps, BTreeSet::new());
        all.rewrite(3, |log| log.retain(|entry| entry.query != Q1));
        assert!(all.reconciled().gaps.iter().any(|gap| gap.kind == GapKind::NotBegun && gap.question == Q1));
    }

    /// A coordinator that keeps innocent words beside the hash of what it really sent.
    #[test]
    fn words_of_another_question_are_named() {
        for sent in [vec![("fragment", "SELECT 2")], vec![]] {
            let mut all = federation();
            let fragments = sent.into_iter().map(|(sha256, sql)| FragmentSent {
                sha256: format!("{sha256}-of-{Q2}"),
                words: "words".to_owned(),
                sql: sql.to_owned(),
                boroughs: BOROUGHS.map(str::to_owned).to_vec(),
            });
            let innocent = QuestionAsked {
                sql: "SELECT 2".to_owned(),
                fragments: fragments.collect(),
                ..QuestionAsked::default()
            };
            let asked = Asked::Committed(all.text(to_text(&innocent)));
            all.rewrite(3, |log| log[2].event = Event::Intent { asked });
            let found = all.reconciled().gaps;
            assert!(found.iter().any(|gap| gap.kind == GapKind::OtherWords && gap.question == Q2), "{found:?}");
        }
    }

    /// A borough that is asked once more, under another id, for somebody whom the coordinator does not name.
    #[test]
    fn a_second_asker_of_the_same_fragment_is_named() {
        let all = federation();
        all.rewrite(0, |log| {
            let other = |entry: &Entry| Entry {
                query: "00000000-0000-4000-8000-00000000000b".to_owned(),
                analyst: "spiffe://d/analyst/b".to_owned(),
                ..entry.clone()
            };
            let again = [other(&log[0]), other(&log[1])];
            log.splice(0..0, again);
        });
        let found = all.reconciled().gaps;
        for kind in [GapKind::OtherAsker, GapKind::OtherFragment] {
            assert!(found.iter().any(|gap| gap.kind == kind && gap.question == Q1), "{found:?}");
        }
    }

    /// Earlier software logged the ids of parts, and no id of the question.
    #[test]
    fn parts_of_earlier_software_are_found_by_their_ids() {
        let all = federation();
        all.rewrite(0, |log| log.iter_mut().for_each(|entry| entry.question.clear()));
        let found = all.reconciled().gaps;
        assert!(found.iter().all(|gap| matches!(gap.kind, GapKind::Forked { .. })), "{found:?}");
    }
}

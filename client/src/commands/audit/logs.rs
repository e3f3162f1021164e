//! The logs of all parties, read through the coordinator and checked with the manifest's keys.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{Days as OfDays, Utc};
use loda_answer::plain;
use loda_identity::Manifest;
use loda_ledger::audit::{Days, LogFault, Logged, PartyLog, Question, chained, each_signed, questions};
use loda_ledger::payload::Opening;
use loda_ledger::tree::checkpoint::Checkpoint;
use loda_ledger::tree::note::Note;
use loda_ledger::tree::proof::{self, includes};
use loda_ledger::{SignedEntry, checkpoint_key, coordinator_key};
use loda_proto::v1::{self, ReadLogRequest};
use tokio::task::JoinSet;

use crate::args::audit::AuditConditions;
use crate::audit::{BoroughEntries, Unread};
use crate::client::Client;
use crate::commands::audit::bundle::{COORDINATOR, Proven, ProvenEntry, zipped};
use crate::commands::audit::coverage::{Coverage, coverage};
use crate::commands::connection::connect;
use crate::commands::failure::Failure;
use crate::commands::federation::manifest::load;
use crate::config::Config;
use crate::error::ClientError;
use crate::render;

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Damaged(fault) => Self::Client(ClientError::Transport(format!("the coordinator's log: {fault}"))),
            Unread::NotShown(why) => Self::Client(ClientError::Transport(why)),
        }
    }
}

/// The way to the parties' logs.
pub(super) struct Logs {
    client: Client,
    manifest: Manifest,
}

impl Logs {
    pub(super) async fn open(config: Option<&Path>) -> Result<Self, Failure> {
        let found = Config::find(config).map_err(ClientError::from)?;
        Ok(Self { manifest: load(&found.manifest)?, client: connect(config).await? })
    }

    /// The manifest, whose keys check the logs.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A borough's name; the code itself if it is none.
    pub(super) fn name(&self, gss: &str) -> String {
        let member = self.manifest.members.iter().find(|member| member.gss.as_str() == gss);
        plain::line(member.map_or(gss, |member| &member.name))
    }

    fn key(&self, borough: &str) -> String {
        let member = self.manifest.members.iter().find(|member| member.gss.as_str() == borough);
        member.map_or(&self.manifest.coordinator.log_key, |member| &member.log_key).clone()
    }

    /// The questions that meet the conditions, with their words.
    pub(super) async fn search(&self, wanted: &AuditConditions) -> Result<Vec<Question>, Failure> {
        let analyst = wanted.analyst.clone().map(|name| match name.starts_with("spiffe://") {
            true => name,
            false => format!("spiffe://{}/analyst/{name}", self.manifest.domain),
        });
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let day = |day: Option<chrono::NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
        let request = ReadLogRequest {
            dataset: text(&wanted.dataset),
            purpose: text(&wanted.purpose),
            analyst: text(&analyst),
            from: day(wanted.from),
            // A question of the last evening may end on the next day.
            until: day(wanted.until.and_then(|until| until.checked_add_days(OfDays::new(1)))),
            texts: true,
            ..Default::default()
        };
        let mut found = questions(self.entries("", request).await?);
        let borough = match &wanted.borough {
            None => None,
            Some(named) => {
                let is = |member: &&loda_identity::Member| {
                    member.gss.as_str().eq_ignore_ascii_case(named) || member.name.eq_ignore_ascii_case(named)
                };
                let member = self.manifest.members.iter().find(is);
                let unknown = || Failure::Usage(format!("there is no borough {named}\n  fix: see loda nodes"));
                Some(member.ok_or_else(unknown)?.gss.to_string())
            }
        };
        found.retain(|question| {
            wanted.until.is_none_or(|until| question.begun.time.date_naive() <= until)
                && wanted.rule.as_deref().is_none_or(|rule| question.rule() == Some(rule))
                // Whom a question was sent to is not known without its words.
                && borough.as_ref().is_none_or(|gss| match question.asked() {
                    Some(asked) => asked.fragments.iter().any(|sent| sent.boroughs.contains(gss)),
                    None => question.was_sent(),
                })
        });
        Ok(found)
    }

    /// How much each analyst has asked of each dataset.
    pub(super) async fn coverage(
        &self,
        wanted: &AuditConditions,
    ) -> Result<BTreeMap<(String, String), Coverage>, Failure> {
        let found = self.search(wanted).await?;
        let mut contracts = BTreeMap::new();
        for dataset in &self.manifest.datasets {
            if let Some(contract) = self.client.contract(&dataset.name).await? {
                contracts.insert(dataset.name.clone(), contract);
            }
        }
        Ok(coverage(&found, &|dataset| contracts.get(dataset).cloned()))
    }

    /// One question, and what each borough's log says of it.
    pub(super) async fn life(&self, named: &str) -> Result<(Question, Vec<BoroughEntries>), Failure> {
        let none = || {
            let fix = "fix: name it as `loda audit search` lists it";
            Failure::Usage(format!("the coordinator's log has no question {named}\n  {fix}"))
        };
        let number = Some(named).filter(|named| named.len() < 8).and_then(|named| named.parse::<u64>().ok());
        let (mut entries, id) = match number {
            Some(start) => {
                let request = ReadLogRequest { start, limit: 1, texts: true, ..Default::default() };
                let one = self.client.read_log(request).await?.entries.into_iter().map(signed).collect();
                let one = each_signed(one, &self.key("")).map_err(Unread::Damaged)?;
                let id = one.first().filter(|first| first.number == start).ok_or_else(none)?.what.question().to_owned();
                (one, id)
            }
            None => {
                let all = questions(self.entries("", ReadLogRequest::default()).await?);
                let mut like = all.iter().map(Question::id).filter(|id| !id.is_empty() && id.starts_with(named));
                let (first, more) = (like.next().ok_or_else(none)?.to_owned(), like.count());
                if more > 0 {
                    return Err(Failure::Usage(format!("{named} begins {} ids\n  fix: write more of it", more + 1)));
                }
                (Vec::new(), first)
            }
        };
        if !id.is_empty() {
            entries = self.of_question("", &id).await?;
        }
        let question = questions(entries).into_iter().next().ok_or_else(none)?;
        // Without the words of a question, all boroughs are looked at.
        let sent = question.asked().map(|asked| asked.fragments);
        let asked: Option<Vec<String>> = sent.map(|sent| sent.into_iter().flat_map(|sent| sent.boroughs).collect());
        // Nothing of an explanation stands in the boroughs' logs.
        let was_asked = |gss: &str| {
            question.was_sent() && asked.as_ref().is_none_or(|asked| asked.iter().any(|asked| asked == gss))
        };
        let mut boroughs = Vec::new();
        let mut reading = JoinSet::new();
        for member in self.manifest.members.iter().filter(|member| was_asked(member.gss.as_str())) {
            let (gss, id) = (member.gss.to_string(), question.id().to_owned());
            let (logs, place) = (self.clone(), boroughs.len());
            boroughs.push(BoroughEntries { name: plain::line(&member.name), entries: Ok(Vec::new()) });
            reading.spawn(async move { (place, logs.of_question(&gss, &id).await) });
        }
        while let Some(Ok((place, entries))) = reading.join_next().await {
            if let Some(borough) = boroughs.get_mut(place) {
                borough.entries = entries;
            }
        }
        Ok((question, boroughs))
    }

    /// A question's entries in one log, with the proofs that the log holds them. Everything is checked here before it is
    /// passed on.
    async fn proven(&self, borough: &str, id: &str) -> Result<Proven, Unread> {
        let request = ReadLogRequest {
            borough: borough.to_owned(),
            query: id.to_owned(),
            texts: true,
            proofs: true,
            ..Default::default()
        };
        let page = self.client.read_log(request).await?;
        let wrong = |what: &str| Unread::NotShown(what.to_owned());
        if page.next.is_some() {
            return Err(wrong("it has more entries of one question than a file holds"));
        }
        let party = if borough.is_empty() { COORDINATOR } else { borough }.to_owned();
        let key = match borough {
            "" => coordinator_key(&self.manifest),
            gss => checkpoint_key(&self.manifest.domain, gss, &self.key(gss)),
        };
        let checkpoint = match (page.checkpoint.as_slice(), &key) {
            ([], _) | (_, None) => None,
            (note, Some(key)) => {
                let checkpoint = Note::parse(note).and_then(|note| Checkpoint::of_note(&note, key));
                Some(checkpoint.map_err(wrong)?)
            }
        };
        let inclusions: Vec<Vec<Vec<u8>>> = page.entries.iter().map(|entry| entry.inclusion.clone()).collect();
        let found: Vec<(SignedEntry, Option<Opening>)> = page.entries.into_iter().map(signed).collect();
        let entries = each_signed(found.clone(), &self.key(borough)).map_err(Unread::Damaged)?;
        let mut proven = Vec::new();
        for ((entry, (signed, opening)), inclusion) in entries.iter().zip(found).zip(inclusions) {
            if entry.what.question() != id && entry.what.query != id {
                return Err(wrong("entries of another question were shown in its place"));
            }
            let inclusion = proof::of_bytes(&inclusion).ok_or_else(|| wrong("a proof that is none"))?;
            let holds =
                |at: &Checkpoint| includes(signed.line().as_bytes(), entry.number, at.size, &inclusion, &at.root);
            if checkpoint.as_ref().is_some_and(|at| !holds(at)) {
                return Err(wrong("an entry that it shows is not in the log that it signed"));
            }
            proven.push(ProvenEntry { number: entry.number, signed, opening, inclusion });
        }
        let checkpoint = if checkpoint.is_some() { page.checkpoint } else { Vec::new() };
        Ok(Proven { party, entries: proven, checkpoint })
    }

    /// One question as a file with its proofs. Also how many parties' entries are in it, and how many are not.
    pub(super) async fn bundle(&self, named: &str) -> Result<(Vec<u8>, usize, usize), Failure> {
        let (question, boroughs) = self.life(named).await?;
        if question.id().is_empty() {
            let fix = "fix: name a question that boroughs were asked";
            return Err(Failure::Usage(format!("{named} was refused before it had an id\n  {fix}")));
        }
        let told = render::question(&question, &boroughs, &self.manifest, None);
        let mut parties = vec![self.proven("", question.id()).await?];
        let mut missing = Vec::new();
        let asked = |name: &str| boroughs.iter().any(|borough| borough.name == name);
        for member in self.manifest.members.iter().filter(|member| asked(&plain::line(&member.name))) {
            match self.proven(member.gss.as_str(), question.id()).await {
                Ok(proven) => parties.push(proven),
                Err(why) => missing.push((plain::line(&member.name), why.to_string())),
            }
        }
        let bytes = zipped(&self.manifest, &self.manifest.to_toml(), &told, &parties, &missing)?;
        Ok((bytes, parties.len(), missing.len()))
    }

    /// All parties' entries of some days, the coordinator's first, each without a gap.
    pub(super) async fn all(
        &self,
        days: Days,
        progress: bool,
    ) -> Result<(PartyLog, Vec<(String, Result<PartyLog, Unread>)>), Failure> {
        let coordinator = self.whole("", days).await?;
        let mut reading = JoinSet::new();
        for member in &self.manifest.members {
            let (logs, gss, name) = (self.clone(), member.gss.to_string(), plain::line(&member.name));
            reading.spawn(async move { (name, logs.whole(&gss, days).await) });
        }
        let bar = crate::progress::counting(self.manifest.members.len(), "query logs", progress);
        let mut all = Vec::new();
        while let Some(read) = reading.join_next().await {
            bar.inc(1);
            all.extend(read);
        }
        bar.finish_and_clear();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        Ok((coordinator, all))
    }

    /// A party's entries from the day before to the log's end, without a gap. The coordinator, which passes them on,
    /// cannot leave out the first ones: the entry in front of them is read too, and has to be older.
    async fn whole(&self, borough: &str, days: Days) -> Result<PartyLog, Unread> {
        let read_at = Utc::now();
        let from = days.from.checked_sub_days(OfDays::new(1)).unwrap_or(days.from);
        let first = ReadLogRequest { from: from.to_string(), limit: 1, ..Default::default() };
        let first = self.client.read_log(ReadLogRequest { borough: borough.to_owned(), ..first }).await?.entries;
        let first = first.into_iter().map(signed).next().and_then(|(entry, _)| entry.read());
        // Without any entry of these days, all are read: nobody else's word counts for that.
        let start = first.map_or(0, |first| first.sequence.saturating_sub(1));
        let found = self.signed(borough, ReadLogRequest { start, texts: true, ..Default::default() }).await?;
        let key = self.key(borough);
        let entries = chained(found, &key).map_err(Unread::Damaged)?;
        // Every log has an entry of its party's first start.
        let begins = |first: &Logged| first.number == 0 || first.time.date_naive() < from;
        if !entries.first().is_some_and(|first| first.number == start && begins(first)) {
            return Err(Unread::Damaged(LogFault::NotNext { expected: start }));
        }
        let party = if borough.is_empty() { COORDINATOR } else { borough }.to_owned();
        Ok(PartyLog { party, key, entries, read_at })
    }

    /// The entries of one question. Others that are shown in their place are not taken for them.
    async fn of_question(&self, borough: &str, id: &str) -> Result<Vec<Logged>, Unread> {
        let request = ReadLogRequest { query: id.to_owned(), texts: true, ..Default::default() };
        let entries = self.entries(borough, request).await?;
        match entries.iter().all(|entry| entry.what.question() == id || entry.what.query == id) {
            true => Ok(entries),
            false => Err(Unread::NotShown("entries of another question were shown in its place".to_owned())),
        }
    }

    /// Entries of a search, each checked by its signature.
    async fn entries(&self, borough: &str, request: ReadLogRequest) -> Result<Vec<Logged>, Unread> {
        each_signed(self.signed(borough, request).await?, &self.key(borough)).map_err(Unread::Damaged)
    }

    /// All pages of a search.
    async fn signed(
        &self,
        borough: &str,
        request: ReadLogRequest,
    ) -> Result<Vec<(SignedEntry, Option<Opening>)>, ClientError> {
        let (mut all, mut start) = (Vec::new(), request.start);
        loop {
            let request = ReadLogRequest { borough: borough.to_owned(), start, ..request.clone() };
            let page = self.client.read_log(request).await?;
            all.extend(page.entries.into_iter().map(signed));
            match page.next {
                Some(next) if next > start => start = next,
                Some(_) => return Err(ClientError::Transport("a page of the query log leads nowhere".to_owned())),
                None => return Ok(all),
            }
        }
    }
}

impl Clone for Logs {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), manifest: self.manifest.clone() }
    }
}

fn signed(logged: v1::LoggedEntry) -> (SignedEntry, Option<Opening>) {
    let v1::LoggedEntry { entry, signature, opening, .. } = logged;
    // A key of another length opens nothing.
    let opening =
        opening.map(|opening| Opening { key: opening.key.try_into().unwrap_or_default(), text: opening.text });
    (SignedEntry { entry, signature }, opening)
}

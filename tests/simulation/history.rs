//! The properties that every history must have, in any weather.

use std::collections::BTreeMap;
use std::time::Duration;

use loda_ledger::{End as LoggedEnd, Event, EventKind};
use loda_proto::v1;
use uuid::Uuid;

use super::Outcome;
use super::analyst::{Asked, End};
use super::world::{CENTRE, Logged, World};

/// The answers of calm weather: rows by question.
pub struct Baseline(BTreeMap<usize, Vec<Vec<String>>>);

impl Baseline {
    /// In calm weather every answer is complete and always the same, unless an analyst or the deadline stops the
    /// question.
    pub fn of(calm: impl Iterator<Item = Outcome>) -> Self {
        let mut rows = BTreeMap::new();
        let mut stopped_late = 0;
        for Outcome { world, mut asked } in calm {
            for asked in &mut asked {
                match &asked.end {
                    End::Answered { rows: got, statement } => {
                        if statement.complete {
                            assert_eq!(rows.entry(asked.sql).or_insert_with(|| got.clone()), got);
                        } else {
                            // A node's work took longer than the deadline allowed.
                            assert!(asked.time < Duration::from_millis(9_000), "{asked:?}");
                        }
                    }
                    End::Said(v1::State::Cancelled) | End::Left | End::Unknown => {}
                    end => panic!("in calm weather: {end:?} {:?}\n{}", asked, world.story().join("\n")),
                }
            }
            // A cancellation, or leaving without --detach, stops the nodes' work within a second.
            let runs = world.take_runs();
            for end in &world.log(CENTRE) {
                let Event::Outcome(LoggedEnd::Cancelled | LoggedEnd::Abandoned) = &end.entry.event else { continue };
                let id = Uuid::parse_str(&end.entry.query).unwrap();
                for run in runs.iter().filter(|run| fragments(id).any(|f| f == run.fragment)) {
                    let until = run.until.unwrap();
                    assert!(until <= end.at + Duration::from_secs(1), "work goes on after {:?}", end.entry.event);
                    stopped_late += 1;
                }
            }
        }
        assert_eq!(rows.len(), super::QUESTIONS.len());
        assert!(stopped_late > 0);
        Self(rows)
    }
}

/// The ids of a question's fragments at the nodes.
fn fragments(query: Uuid) -> impl Iterator<Item = Uuid> {
    (0..2).map(move |number| loda_ledger::fragment_id(query, number))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn by_query(log: &[Logged]) -> BTreeMap<&str, Vec<&Logged>> {
    let mut stories: BTreeMap<&str, Vec<&Logged>> = BTreeMap::new();
    for logged in log {
        stories.entry(&logged.entry.query).or_default().push(logged);
    }
    stories
}

/// Checks a history, and counts what happened in it.
pub fn check(world: &World, asked: &[Asked], baseline: &Baseline) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let centre = world.log(CENTRE);
    let questions = by_query(&centre);
    // Each question that began has exactly one end.
    for (id, story) in &questions {
        let kinds: Vec<EventKind> = story.iter().map(|l| l.entry.kind()).collect();
        ensure(kinds == [EventKind::Intent, EventKind::Outcome], || format!("{id} at the coordinator: {kinds:?}"))?;
        let Event::Outcome(end) = &story[1].entry.event else { unreachable!("it has this kind") };
        found.push(format!("ended: {}", end.name()));
    }
    let mut parents = BTreeMap::new();
    for id in questions.keys() {
        for fragment in fragments(Uuid::parse_str(id).unwrap()) {
            parents.insert(fragment, *id);
        }
    }
    // Each fragment that a node accepted has one end there. The coordinator logged its question before.
    let mut releases = BTreeMap::new();
    for node in 1..=world.stage.nodes.len() {
        let log = world.log(node);
        for (id, story) in by_query(&log) {
            let kinds: Vec<EventKind> = story.iter().map(|l| l.entry.kind()).collect();
            let whole = matches!(kinds.as_slice(), [EventKind::Accept, EventKind::Release | EventKind::Fail]);
            ensure(whole, || format!("{id} at node {node}: {kinds:?}"))?;
            let fragment = Uuid::parse_str(id).unwrap();
            let parent = parents.get(&fragment).ok_or_else(|| format!("{id} at node {node} belongs to no question"))?;
            ensure(questions[*parent][0].order < story[0].order, || format!("{id} ran before it was logged"))?;
            if kinds[1] == EventKind::Release {
                releases.insert((node, fragment), story[1].order);
            }
        }
    }
    // Nothing runs twice, even if requests were repeated and hosts died.
    let mut runs = BTreeMap::new();
    for run in world.take_runs() {
        let first = runs.insert((run.node, run.fragment), run.until).is_none();
        ensure(first, || format!("{} ran twice at node {}", run.fragment, run.node))?;
        ensure(run.until.is_some(), || format!("{} never ended at node {}", run.fragment, run.node))?;
    }
    for asked in asked {
        let story = questions.get(asked.id.as_str());
        let outcome = story.map(|story| match &story[1].entry.event {
            Event::Outcome(end) => end.name(),
            _ => "none",
        });
        match &asked.end {
            End::Answered { rows, statement } => {
                found.push(if statement.complete { "whole".to_owned() } else { "partial".to_owned() });
                let story = story.ok_or_else(|| format!("{} was answered and never logged", asked.id))?;
                ensure(matches!(story[1].entry.event, Event::Outcome(LoggedEnd::Answered { .. })), || {
                    format!("{} was answered, and its log says {:?}", asked.id, story[1].entry.event)
                })?;
                answered(world, asked, rows, statement, &baseline.0[&asked.sql])?;
                for (number, part) in statement.parts.iter().enumerate() {
                    for borough in part.boroughs.iter().filter(|b| b.answer == "answered") {
                        let node =
                            1 + world.stage.nodes.iter().position(|(gss, _)| gss.as_str() == borough.borough).unwrap();
                        let fragment = loda_ledger::fragment_id(Uuid::parse_str(&asked.id).unwrap(), number);
                        let released = releases.get(&(node, fragment));
                        ensure(released.is_some_and(|order| *order < story[1].order), || {
                            format!("{} came from node {node} without a RELEASE before it", asked.id)
                        })?;
                    }
                }
            }
            End::Said(state) => {
                found.push(format!("said {state:?}"));
                ensure(outcome.is_none_or(|o| o != "answered") || world.forgets(), || {
                    format!("{} was said to be {state:?}, and its log says {outcome:?}", asked.id)
                })?;
            }
            // After a restart, the coordinator may have forgotten a question that ended without an answer, or a file
            // that the power failure took.
            End::Unknown => {
                found.push("unknown after a restart".to_owned());
                let answered = outcome.is_some_and(|o| o == "answered");
                ensure(!answered || world.torn(), || format!("{} was answered, and nobody knows it", asked.id))?;
                ensure(world.lives(CENTRE) > 1, || format!("{} is unknown without a restart", asked.id))?;
            }
            End::Left => return Err(format!("{} has no end", asked.id)),
        }
        // The deadline limits the time, except for the time when the coordinator was down.
        if let Some([intent, outcome]) = story.map(Vec::as_slice) {
            let took = outcome.at - intent.at;
            let bound = asked.time + Duration::from_secs(2);
            ensure(took <= bound || world.lives(CENTRE) > 1, || format!("{} took {took:?} of {bound:?}", asked.id))?;
        }
    }
    Ok(found)
}

/// Each borough's figure is complete or marked as missing. A sum covers the answers that arrived, and says what is
/// missing.
fn answered(
    world: &World,
    asked: &Asked,
    rows: &[Vec<String>],
    statement: &v1::Statement,
    whole: &[Vec<String>],
) -> Result<(), String> {
    let fault = || format!("{}: {rows:?} instead of {whole:?}: {statement:?}", asked.id);
    let missing: usize = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer != "answered").count();
    ensure(statement.complete == (missing == 0), fault)?;
    ensure(rows.len() == whole.len(), fault)?;
    if asked.sql == 1 {
        let said = rows[0][1].starts_with("lacks") || rows[0][0] == "NULL";
        return ensure(if missing == 0 { rows == whole } else { said }, fault);
    }
    ensure(world.stage.nodes.len() * statement.parts.len() == whole.len(), fault)?;
    let mut absent = 0;
    for row in rows {
        if row[1] == "NULL" {
            absent += 1;
            ensure(whole.iter().any(|w| w[0] == row[0]) && row[2].starts_with('x'), fault)?;
        } else {
            ensure(whole.contains(row), fault)?;
        }
    }
    ensure(absent == missing, fault)
}

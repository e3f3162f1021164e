//! Processes that wait for work, shared among askers in turn.

use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use loda_identity::PeerId;
use loda_service::{FairQueue, Program, Turn};
use tokio::io::BufReader;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{Said, Start, WorkRequest, receive, send};

/// The most processes that wait for work. Other processes end with their work.
const IDLE: usize = 3;

/// How long a process may take to start, and how long an asker waits for a place.
const STARTING: Duration = Duration::from_secs(20);
const WAITING: Duration = Duration::from_secs(20);

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("no process was free in time")]
    Busy,
    #[error("it was ended at its deadline")]
    Late,
    #[error("it took more memory or time than it may have, and was ended")]
    Died,
    #[error("no process can be started to work in: {0}")]
    Start(String),
}

/// The reply of a process, and the asker's place. The place is taken for as long as this lives.
pub(super) struct Answered {
    pub(super) said: Said,
    pub(super) body: Vec<u8>,
    pub(super) turn: Turn,
}

pub(super) struct Pool {
    program: Program,
    /// The first message to each process.
    start: Start,
    /// One queue for planning and one for all other work. Long work after the merge keeps nobody from planning.
    planning: FairQueue,
    finishing: FairQueue,
    idle: Mutex<Vec<Process>>,
}

/// A process that waits for work. It ends when this is dropped.
struct Process {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// The statements that it has planned, newest last.
    planned: Vec<String>,
    asked: u32,
}

/// The number of requests after which a new process replaces this one, so that leftovers of work do not grow for ever.
const OFTEN: u32 = 500;

/// The most statements that a process keeps.
pub(super) const PLANNED: usize = 4;

impl Pool {
    pub(super) fn new(program: Program, start: Start, places: usize) -> Self {
        let turns = |places: usize| FairQueue::shared(places, (places / 2).max(1));
        let planning = (places / 3).max(1);
        let finishing = places.saturating_sub(planning).max(1);
        Self { program, start, planning: turns(planning), finishing: turns(finishing), idle: Mutex::default() }
    }

    /// Asks a process. Ends the process if it does not answer in time, or if the caller no longer waits.
    pub(super) async fn ask(
        &self,
        asker: &PeerId,
        asked: &WorkRequest,
        bodies: &[Vec<u8>],
        until: Instant,
    ) -> Result<Answered, Ended> {
        let waited = Instant::now();
        let turns = match asked {
            WorkRequest::Plan { .. } | WorkRequest::Columns { .. } => &self.planning,
            WorkRequest::Finish { .. } | WorkRequest::Local { .. } | WorkRequest::Write { .. } => &self.finishing,
        };
        let turn = timeout(WAITING, turns.take(&asker.to_string())).await.map_err(|_| Ended::Busy)?;
        // An asker who waited for a place has the full time left.
        let until = until + waited.elapsed();
        if let Some(process) = self.free(asked) {
            // The process may have died from leftovers of another asker's work. Try once more in a new process.
            match self.one(process, asked, bodies, until).await {
                Err(Ended::Died) => {}
                answered => return answered.map(|(said, body)| Answered { said, body, turn }),
            }
        }
        let process = self.begin().await?;
        let (said, body) = self.one(process, asked, bodies, until).await?;
        Ok(Answered { said, body, turn })
    }

    async fn one(
        &self,
        mut process: Process,
        asked: &WorkRequest,
        bodies: &[Vec<u8>],
        until: Instant,
    ) -> Result<(Said, Vec<u8>), Ended> {
        let answered = async {
            send(&mut process.to, asked, bodies).await?;
            receive::<Said>(&mut process.from).await
        };
        // A dropped process is ended: a process that did not answer never works again.
        let (said, mut answer) = match timeout_at(until, answered).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => return Err(Ended::Died),
            Err(_late) => return Err(Ended::Late),
        };
        if let Some(sql) = asked.sql() {
            process.planned.retain(|of| of != sql);
            process.planned.push(sql.to_owned());
            if process.planned.len() > PLANNED {
                process.planned.remove(0);
            }
        }
        process.asked = process.asked.saturating_add(1);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && process.asked < OFTEN {
            idle.push(process);
        }
        Ok((said, answer.pop().unwrap_or_default()))
    }

    /// Starts a process before it is needed.
    pub(super) async fn warm(&self) {
        match self.begin().await {
            Ok(process) => self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process),
            Err(fault) => tracing::error!("{fault}"),
        }
    }

    /// A waiting process, preferably the one that knows the statement.
    fn free(&self, asked: &WorkRequest) -> Option<Process> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let knows = |process: &Process| asked.sql().is_some_and(|sql| process.planned.iter().any(|of| of == sql));
        let place = idle.iter().position(knows).or_else(|| idle.len().checked_sub(1))?;
        Some(idle.swap_remove(place))
    }

    async fn begin(&self) -> Result<Process, Ended> {
        let fault = |fault: std::io::Error| Ended::Start(fault.to_string());
        let mut command = self.program.command().ok_or_else(|| Ended::Start("no program".to_owned()))?;
        // The process does not need the environment of this process.
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(fault)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (mut to, from) = pipes.ok_or_else(|| Ended::Start("it cannot be spoken to".to_owned()))?;
        let mut from = BufReader::new(from);
        let greeted = async {
            send(&mut to, &self.start, &[]).await?;
            receive::<Said>(&mut from).await
        };
        match timeout(STARTING, greeted).await {
            Ok(Ok((Said::Done { .. }, _))) => {}
            Ok(Ok((Said::Refused { message, .. } | Said::Fault { message }, _))) => return Err(Ended::Start(message)),
            Ok(Err(said)) => return Err(fault(said)),
            Err(_late) => return Err(Ended::Start("it takes too long".to_owned())),
        }
        Ok(Process { _child: child, to, from, planned: Vec::new(), asked: 0 })
    }
}

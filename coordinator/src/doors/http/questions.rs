//! Questions as jobs: asked, watched, cancelled; each by its owner alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use loda_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Body, Id, Params};
use super::{NotLetIn, Problem};
use crate::doors::Doors;
use crate::doors::sign_in::{Asker, Scope};
use crate::query::{Query, is_final};

/// The longest that a request may wait for an end, in seconds.
const LONGEST_WAIT: u32 = 60;

/// What to ask.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuestionRequest {
    /// One SELECT over the catalogue's tables.
    #[schema(min_length = 1, max_length = 100000)]
    sql: String,
    /// What it is asked for, as the boroughs' agreements name it. May be left out where a token has one purpose.
    #[serde(default)]
    #[schema(max_length = 200)]
    purpose: String,
    /// How long the boroughs may take, in milliseconds; the coordinator's own limit is the longest.
    #[schema(minimum = 1, maximum = 3600000)]
    deadline_ms: Option<u32>,
}

/// What to explain.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    #[schema(min_length = 1, max_length = 100000)]
    sql: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    purpose: String,
    /// Also ask every borough for its yes or no; nothing is read there.
    #[serde(default)]
    ask_boroughs: bool,
}

/// A question and what has become of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Question {
    #[schema(format = Uuid)]
    id: String,
    state: QuestionState,
    sql: String,
    purpose: String,
    boroughs: Vec<BoroughState>,
    /// Where its answer is, once there is one.
    #[schema(nullable)]
    result: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuestionState {
    Queued,
    Running,
    /// Its answer can be fetched, for ten minutes.
    Answered,
    NotAnswered,
    Cancelled,
}

impl From<v1::State> for QuestionState {
    fn from(state: v1::State) -> Self {
        match state {
            v1::State::Released => Self::Answered,
            v1::State::Cancelled => Self::Cancelled,
            v1::State::NotAnswered | v1::State::Refused => Self::NotAnswered,
            v1::State::Running => Self::Running,
            v1::State::Queued | v1::State::Held | v1::State::Unspecified => Self::Queued,
        }
    }
}

/// Where one borough is with it.
#[derive(Serialize, ToSchema)]
pub(crate) struct BoroughState {
    borough: String,
    /// `queued`, `running`, `released`, `not_answered`, `cancelled` or `refused`.
    state: String,
}

/// Your questions of the last ten minutes, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct QuestionList {
    questions: Vec<Question>,
    /// Where the rest is, if there is more.
    #[schema(nullable)]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// How many to pass over.
    #[param(minimum = 0, maximum = 10000)]
    offset: Option<u32>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Seconds to wait for the question to end.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<u32>,
}

fn question(query: &Query) -> Question {
    let state = QuestionState::from(*query.watch().borrow());
    let boroughs = query
        .progress
        .boroughs()
        .into_iter()
        .map(|of| BoroughState { state: of.state().as_str_name().to_lowercase(), borough: of.borough });
    Question {
        id: query.id.to_string(),
        state,
        sql: query.prepared.sql.clone(),
        purpose: query.prepared.purpose.clone(),
        boroughs: boroughs.collect(),
        result: (state == QuestionState::Answered).then(|| format!("/v1/questions/{}/result", query.id)),
    }
}

/// Within its limits, or not at all.
pub(super) fn within(name: &str, value: Option<u32>, least: u32, most: u32, usual: u32) -> Result<u32, Problem> {
    let value = value.unwrap_or(usual);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{name} is {least} to {most}")))
}

fn text(name: &str, value: &str, least: usize, most: usize) -> Result<(), Problem> {
    if (least..=most).contains(&value.chars().count()) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{name} has {least} to {most} characters")))
}

/// Ask. The question runs on whether or not anybody waits for it; a refusal says by which rule, and what would be allowed.
#[utoipa::path(post, path = "/v1/questions", security(("bearer" = [])), request_body = QuestionRequest, responses(
    (status = 201, body = Question, headers(("Location" = String, description = "The question"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 413, body = Problem, content_type = "application/problem+json"),
    (status = 415, body = Problem, content_type = "application/problem+json"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "Refused"),
    NotLetIn,
))]
pub(crate) async fn ask(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Body(request): Body<QuestionRequest>,
) -> Result<Response, Problem> {
    asker.may(Scope::Ask)?;
    text("sql", &request.sql, 1, 100_000)?;
    text("purpose", &request.purpose, 0, 200)?;
    let deadline = match request.deadline_ms {
        None => 0,
        given => within("deadline_ms", given, 1, 3_600_000, 1)?,
    };
    let purpose = asker.purpose(&request.purpose)?;
    let query = doors.ask(doors.plan(&asker, request.sql, purpose).await?, deadline, true)?;
    let place = format!("/v1/questions/{}", query.id);
    Ok((StatusCode::CREATED, [(LOCATION, place)], Json(question(&query))).into_response())
}

/// Your questions.
#[utoipa::path(get, path = "/v1/questions", security(("bearer" = [])), params(Page), responses(
    (status = 200, body = QuestionList),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn list(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Params(page): Params<Page>,
) -> Result<Json<QuestionList>, Problem> {
    asker.may(Scope::Ask)?;
    let offset = within("offset", page.offset, 0, 10_000, 0)?;
    let limit = within("limit", page.limit, 1, 100, 20)?;
    let all = doors.queries(&asker);
    let shown: Vec<Question> =
        all.iter().skip(offset as usize).take(limit as usize).map(|query| question(query)).collect();
    let after = offset.saturating_add(limit);
    let more = all.len() > after as usize;
    let next = more.then(|| format!("/v1/questions?offset={after}&limit={limit}"));
    Ok(Json(QuestionList { questions: shown, next }))
}

/// What has become of a question; with `wait`, when it has ended or the time is over.
#[utoipa::path(get, path = "/v1/questions/{id}", security(("bearer" = [])), params(
    ("id" = Uuid, Path, description = "The question"), Wait
), responses(
    (status = 200, body = Question),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn state(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Id(id): Id,
    Params(wait): Params<Wait>,
) -> Result<Json<Question>, Problem> {
    asker.may(Scope::Ask)?;
    let wait = within("wait", wait.wait, 0, LONGEST_WAIT, 0)?;
    let query = doors.query(&asker, &id)?;
    let mut states = query.watch();
    let ended = states.wait_for(|state| is_final(*state));
    let _late = tokio::time::timeout(Duration::from_secs(wait.into()), ended).await.is_ok();
    Ok(Json(question(&query)))
}

/// Cancel a question; the boroughs stop at once. One that has ended stays as it is.
#[utoipa::path(post, path = "/v1/questions/{id}/cancel", security(("bearer" = [])), params(
    ("id" = Uuid, Path, description = "The question")
), responses(
    (status = 200, body = Question),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn cancel(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Id(id): Id,
) -> Result<Json<Question>, Problem> {
    asker.may(Scope::Ask)?;
    let query = doors.query(&asker, &id)?;
    doors.questions.cancel(&query, "cancelled");
    Ok(Json(question(&query)))
}

/// What a question would ask, of whom, and what would follow.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation {
    fragments: Vec<Fragment>,
    /// What the coordinator does with what comes back, as an indented plan.
    after_merge: String,
}

/// One question to one or more boroughs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fragment {
    number: u32,
    /// Of its bytes, as every log names it.
    sha256: String,
    words: String,
    sql: String,
    boroughs: Vec<String>,
    /// Cells that a borough can answer with; 0 where a group key has no list of values.
    grid: u64,
    verdicts: Vec<Verdict>,
}

/// What a borough says to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verdict {
    borough: String,
    /// `yes`, `no` or `unreachable`.
    answer: String,
    /// Of a no: the rule, and what would be allowed.
    rule: String,
    message: String,
    advice: String,
}

/// Explain. Nothing is read and nothing is logged.
#[utoipa::path(post, path = "/v1/explain", security(("bearer" = [])), request_body = ExplainRequest, responses(
    (status = 200, body = Explanation),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 413, body = Problem, content_type = "application/problem+json"),
    (status = 415, body = Problem, content_type = "application/problem+json"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "Refused"),
    NotLetIn,
))]
pub(crate) async fn explain(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Body(request): Body<ExplainRequest>,
) -> Result<Json<Explanation>, Problem> {
    asker.may(Scope::Ask)?;
    text("sql", &request.sql, 1, 100_000)?;
    text("purpose", &request.purpose, 0, 200)?;
    let purpose = asker.purpose(&request.purpose)?;
    let prepared = doors.plan(&asker, request.sql, purpose).await?;
    let explained = doors.explain(&asker, prepared, request.ask_boroughs).await?;
    let verdict = |verdict: v1::Verdict| {
        let refusal = verdict.refusal.unwrap_or_default();
        Verdict {
            borough: verdict.borough,
            answer: verdict.answer,
            rule: refusal.rule,
            message: refusal.message,
            advice: refusal.advice,
        }
    };
    let fragments = explained.fragments.into_iter().map(|fragment| Fragment {
        number: fragment.number,
        sha256: fragment.sha256,
        words: fragment.words,
        sql: fragment.sql,
        boroughs: fragment.boroughs,
        grid: fragment.grid,
        verdicts: fragment.verdicts.into_iter().map(verdict).collect(),
    });
    Ok(Json(Explanation { fragments: fragments.collect(), after_merge: explained.after_merge }))
}

//! Questions over HTTP: ask, watch and cancel. Each question is visible only to its owner.

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

use super::problem::{Body, Id, NotAsked, NotLetIn, NotRead, NotThere, NotUnderstood, Params, Problem, within};
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};
use crate::query::explain::Verdicts as AskVerdicts;
use crate::query::query::Query;

/// The longest time that a request may wait for the end, in seconds.
const LONGEST_WAIT: u32 = 60;

/// A question to ask.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuestionRequest {
    /// One SELECT over the tables of the catalogue.
    #[schema(min_length = 1, max_length = 100000)]
    sql: String,
    /// The purpose, as the boroughs' agreements name it. Optional if your token is bound to one purpose.
    #[serde(default)]
    #[schema(max_length = 200)]
    purpose: String,
    /// How long the boroughs may take, in milliseconds. The coordinator's own limit is the longest.
    #[schema(minimum = 1, maximum = 3600000)]
    deadline_ms: Option<u32>,
}

/// A question to explain.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    #[schema(min_length = 1, max_length = 100000)]
    sql: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    purpose: String,
    /// Also ask each borough for its yes or no. Nothing is read there.
    #[serde(default)]
    ask_boroughs: bool,
}

/// A question and its state.
#[derive(Serialize, ToSchema)]
pub(crate) struct Question {
    #[schema(format = Uuid)]
    id: String,
    state: QuestionState,
    sql: String,
    purpose: String,
    boroughs: Vec<BoroughState>,
    /// The address of its answer, once there is one.
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

/// The state of the question at one borough.
#[derive(Serialize, ToSchema)]
pub(crate) struct BoroughState {
    borough: String,
    /// `queued`, `running`, `released`, `not_answered`, `cancelled` or `refused`.
    state: String,
}

/// Your questions of the last ten minutes, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct QuestionList {
    questions: Vec<Question>,
    /// The address of the next page, if there is one.
    #[schema(nullable)]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The number of questions to skip.
    #[param(minimum = 0, maximum = 10000)]
    offset: Option<u32>,
    /// The most questions in the answer.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
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

/// Checks the length of a text.
pub(super) fn text(name: &str, value: &str, least: usize, most: usize) -> Result<(), Problem> {
    if (least..=most).contains(&value.chars().count()) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{name} has {least} to {most} characters")))
}

/// Ask a question. It continues even if nobody waits for it. A refusal names its rule, and the nearest question that
/// would be allowed.
#[utoipa::path(post, path = "/v1/questions", operation_id = "ask", tag = "questions",
    security(("bearer" = [])), request_body = QuestionRequest, responses(
    (status = 201, body = Question, description = "The question is taken: fetch its state at `Location`", headers(("Location" = String, description = "The question"))),
    NotUnderstood,
    NotRead,
    NotAsked,
    NotLetIn,
))]
pub(crate) async fn ask(
    State(service): State<Arc<DoorService>>,
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
    let query = service.ask(service.plan(&asker, request.sql, purpose).await?, deadline, true)?;
    let place = format!("/v1/questions/{}", query.id);
    Ok((StatusCode::CREATED, [(LOCATION, place)], Json(question(&query))).into_response())
}

/// List your questions.
#[utoipa::path(get, path = "/v1/questions", operation_id = "list_questions", tag = "questions",
    security(("bearer" = [])), params(Page), responses(
    (status = 200, body = QuestionList, description = "Your questions, the newest first"),
    NotUnderstood,
    NotLetIn,
))]
pub(crate) async fn list(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Params(page): Params<Page>,
) -> Result<Json<QuestionList>, Problem> {
    asker.may(Scope::Ask)?;
    let offset = within("offset", page.offset, 0, 10_000, 0)?;
    let limit = within("limit", page.limit, 1, 100, 20)?;
    let all = service.queries(&asker);
    let shown: Vec<Question> =
        all.iter().skip(offset as usize).take(limit as usize).map(|query| question(query)).collect();
    let after = offset.saturating_add(limit);
    let more = all.len() > after as usize;
    let next = more.then(|| format!("/v1/questions?offset={after}&limit={limit}"));
    Ok(Json(QuestionList { questions: shown, next }))
}

/// Show the state of a question. With `wait`, the answer comes when the question has ended or the time is over.
#[utoipa::path(get, path = "/v1/questions/{id}", operation_id = "question", tag = "questions",
    security(("bearer" = [])), params(
    ("id" = Uuid, Path, description = "The question"), Wait
), responses(
    (status = 200, body = Question, description = "Its state, by borough"),
    NotUnderstood,
    NotThere,
    NotLetIn,
))]
pub(crate) async fn state(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Id(id): Id,
    Params(wait): Params<Wait>,
) -> Result<Json<Question>, Problem> {
    asker.may(Scope::Ask)?;
    let wait = within("wait", wait.wait, 0, LONGEST_WAIT, 0)?;
    let query = service.query(&asker, &id)?;
    let mut states = query.watch();
    let ended = states.wait_for(|state| state.is_final());
    let _late = tokio::time::timeout(Duration::from_secs(wait.into()), ended).await.is_ok();
    Ok(Json(question(&query)))
}

/// Cancel a question. The boroughs stop at once. A question that has ended stays as it is.
#[utoipa::path(post, path = "/v1/questions/{id}/cancel", operation_id = "cancel_question", tag = "questions",
    security(("bearer" = [])), params(
    ("id" = Uuid, Path, description = "The question")
), responses(
    (status = 200, body = Question, description = "Its state after the cancellation"),
    NotThere,
    NotLetIn,
))]
pub(crate) async fn cancel(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Id(id): Id,
) -> Result<Json<Question>, Problem> {
    asker.may(Scope::Ask)?;
    let query = service.query(&asker, &id)?;
    service.cancel(&query);
    Ok(Json(question(&query)))
}

/// The fragments of a question, the boroughs that it would ask, and the steps after the merge.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation {
    fragments: Vec<Fragment>,
    /// The coordinator's steps after the merge, as an indented plan.
    after_merge: String,
}

/// One question to one or more boroughs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fragment {
    number: u32,
    /// The SHA-256 of its bytes, as all logs name it.
    sha256: String,
    words: String,
    sql: String,
    boroughs: Vec<String>,
    /// The number of cells in a borough's answer. 0 if a group key has no list of values.
    grid: u64,
    verdicts: Vec<Verdict>,
}

/// A borough's answer to an explanation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verdict {
    borough: String,
    /// `yes`, `no` or `unreachable`.
    answer: String,
    /// For a no: the rule, and the nearest question that would be allowed.
    rule: String,
    message: String,
    advice: String,
}

/// Explain a question. Nothing is read and nothing is logged.
#[utoipa::path(post, path = "/v1/explain", operation_id = "explain", tag = "questions",
    security(("bearer" = [])), request_body = ExplainRequest, responses(
    (status = 200, body = Explanation, description = "What each borough would be asked"),
    NotUnderstood,
    NotRead,
    NotAsked,
    NotLetIn,
))]
pub(crate) async fn explain(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Body(request): Body<ExplainRequest>,
) -> Result<Json<Explanation>, Problem> {
    asker.may(Scope::Ask)?;
    text("sql", &request.sql, 1, 100_000)?;
    text("purpose", &request.purpose, 0, 200)?;
    let purpose = asker.purpose(&request.purpose)?;
    let prepared = service.plan(&asker, request.sql, purpose).await?;
    // What comes through this door is not signed.
    let ask = request.ask_boroughs.then_some(AskVerdicts { signed: false });
    let explained = service.explain(&asker, prepared, ask).await?;
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

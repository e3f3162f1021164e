//! The coordinator: an analyst's SQL in, protected figures from many boroughs out.
//!
//! ```text
//! SQL ─ plan ─► split ─► log INTENT ─► dispatch ─► merge ─► log OUTCOME ─► finish ─► result + statement
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `config`, `catalogue` | the manifest's contracts as tables with a `borough` column; reference tables |
//! | `words` | what can be refused by words alone, before anything recurses over them |
//! | `plan` | SQL to a logical plan: one SELECT, nothing else |
//! | `syntax` | refuses what the planner would pass over without a word |
//! | `expansion` | what CTEs come to, written out |
//! | `split`, `federated` | each aggregate over records becomes a leaf that boroughs answer, or a refusal |
//! | `part` | one aggregate: the question to each borough, and how output follows from figures |
//! | `beside` | people's released cells joined to published records |
//! | `grouping` | GROUPING SETS, ROLLUP, CUBE and DISTINCT as aggregates |
//! | `notes`, `lineage` | what is withheld or missing follows its row and column to the end |
//! | `lines` | what calls to nodes go over |
//! | `node_logs` | whether the query logs of nodes continue what was seen of them |
//! | `dispatch` | fragments to nodes and released cells back, under one deadline |
//! | `room` | how much of answers may be read at once |
//! | `cells` | what a borough released, from its bytes, or nothing |
//! | `merge` | borough cells to the cells of the question |
//! | `derived` | variances, correlations and quantiles from protected parts |
//! | `finish` | HAVING, ORDER BY, LIMIT, ratios and joins, on protected values only |
//! | `explain` | what a question would ask, of whom, and who would say no |
//! | `statement` | what a result says of itself |
//! | `dry` | planning over contracts alone, for fuzzing and tests |
//! | `allowance` | how many questions one asker may put into the logs |
//! | `questions`, `jobs`, `query` | a question's life, and what outlives a restart |
//! | `serve` | all of it over mTLS gRPC |
//! | `work` | planning, what follows the merge and writing, where they can be ended |
//! | `doors` | and over HTTP and Flight SQL, for people's own tools |

#![cfg_attr(not(feature = "simulation"), allow(unreachable_pub, reason = "the simulation alone uses some"))]

mod allowance;
mod beside;
mod catalogue;
mod cells;
mod config;
mod derived;
mod dispatch;
mod doors;
mod dry;
mod expansion;
mod explain;
mod federated;
mod finish;
mod fragment;
mod group;
mod grouping;
mod jobs;
mod lineage;
mod lines;
mod merge;
mod node_logs;
mod notes;
mod outputs;
mod part;
mod plan;
mod query;
mod questions;
mod ratios;
mod room;
mod serve;
#[cfg(feature = "simulation")]
mod simulation;
mod split;
mod statement;
mod syntax;
mod words;
mod work;

pub use config::{Config, ConfigError, DoorsConfig};
pub use doors::foreign;
pub use dry::Dry;
#[cfg(feature = "simulation")]
pub use lines::{Line, LineFault, Lines};
#[cfg(feature = "simulation")]
pub use questions::fragment_id;
pub use serve::{Coordinator, run};
#[cfg(feature = "simulation")]
pub use simulation::{Plant, Surroundings};
pub use work::work;

//! A federation on one machine, for a first look and for the tests: 33 borough nodes and a coordinator. Each is its own
//! process, with real certificates and real sockets.
//!
//! | module | what it does |
//! |---|---|
//! | `boroughs` | the 33 boroughs of London |
//! | `london`, `random` | a generated London: homes, people, the services' records about them, and the truth |
//! | `datasets`, `real`, `generate` | the datasets of each demo node: open data, or tables of the generated London |
//! | `extracts` | nodes that read the messy extracts of the generated London |
//! | `layout` | the folder of a federation: authorities, manifest, contracts, configurations, agreements |
//! | `processes` | the federation's processes: start, wait, end |
//! | `tour` | a first round of questions |

pub mod boroughs;
pub mod datasets;
pub mod extracts;
pub mod generate;
pub mod layout;
pub mod london;
pub mod processes;
pub mod random;
pub mod real;
pub mod tour;

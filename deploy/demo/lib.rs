//! A federation on one machine: 33 borough nodes and a coordinator, each a process of its own, with real
//! certificates and real sockets. For a first look, and for the tests.
//!
//! | module | what it does |
//! |---|---|
//! | `boroughs` | the 33 boroughs of London |
//! | `london`, `random` | a generated London: homes, people, what each service wrote down of them, and the truth |
//! | `datasets`, `real`, `generate` | what each node of the demo holds: open data, or tables of the generated London |
//! | `layout` | the folder of a federation: authorities, manifest, contracts, configurations, agreements |
//! | `processes` | its processes: started, waited for, ended |
//! | `tour` | a first round of questions |

pub mod boroughs;
pub mod datasets;
pub mod generate;
pub mod layout;
pub mod london;
pub mod processes;
pub mod random;
pub mod real;
pub mod tour;

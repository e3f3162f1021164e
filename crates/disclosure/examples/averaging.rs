//! The averaging attack on the default table, printed: `cargo run -p loda-disclosure --example averaging`.
#![allow(clippy::print_stdout)]

use loda_disclosure::{PTableError, consequences, default_table};

fn main() -> Result<(), PTableError> {
    let table = default_table()?;
    println!("table: {:?}", table.summary());
    println!("a guess without questions is right for 50.0 %");
    println!("{:>18}  {:>10}  {:>10}  {:>22}", "pairs of questions", "averaging", "change", "error of one value");
    for c in consequences(&table) {
        let (mean, change) = (c.by_averaging * 100.0, c.by_change * 100.0);
        println!("{:>18}  {mean:>8.1} %  {change:>8.1} %  {:>15.2} widths", c.pairs, c.value_error);
    }
    Ok(())
}
